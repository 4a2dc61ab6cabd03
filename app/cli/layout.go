package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/serve/layout"
)

// exportLayout writes a version as the folder from which another server serves it. The plain bytes come by the same
// granted and audited export as a file does, and are turned into the other form here.
func (e *env) exportLayout(ctx context.Context, ref, kind, dir string) error {
	const op = "cli.exportLayout"
	if err := oneOf("layout", kind, layout.All()...); err != nil {
		return err
	}
	c, v, err := e.version(ctx, ref)
	if err != nil {
		return err
	}
	if dir == "" {
		dir = "models"
	}
	at := filepath.Join(dir, v.Model, itoa(v.Version))
	if _, err := os.Lstat(at); err == nil {
		return errs.Errorf(op, errs.Exists, "%s is there already; remove it or choose another folder with --to", at)
	}
	var plain bytes.Buffer
	format := v.Format
	if format == model.Packed { // what its small weights stand for
		format = model.KerasH5
	}
	if _, err := e.export(ctx, c, v, format, &plain); err != nil {
		return err
	}
	m := layout.Model{Name: v.Model, Version: v.Version}
	switch r := bytes.NewReader(plain.Bytes()); v.Format {
	case model.ONNX:
		m.ONNX = plain.Bytes()
	default:
		m.Network, err = keras.Read(r, r.Size())
	}
	if err != nil {
		return err
	}
	files, err := layout.Files(kind, m)
	if err != nil {
		return err
	}
	if err := writeLayout(dir, at, files); err != nil {
		return err
	}
	e.note("wrote %s: %s:%d in the clear, as %s serves it; this is in the audit log", at, v.Model, v.Version, map[string]string{
		layout.Triton: "Triton (tritonserver --model-repository=" + dir + ")", layout.TensorFlowServing: "TensorFlow Serving (tensorflow_model_server --model_base_path=" + filepath.Join(dir, v.Model) + ")",
	}[kind])
	return nil
}

// writeLayout writes the files of a version beside where they belong, and then puts them there at once: a server that
// watches the folder never sees half a version.
func writeLayout(dir, at string, files []layout.File) (err error) {
	const op = "cli.writeLayout"
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return fileError(op, err)
	}
	part, err := os.MkdirTemp(filepath.Dir(at), ".lineshaft-")
	if err != nil {
		return fileError(op, err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(part) // the error that led here is the one to tell
		}
	}()
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.Path))
		if f.Whole {
			if _, err := os.Lstat(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
				continue // it was written with another version, and may have been changed since
			}
			if err := replaceFile(name, 0o600, f.Write); err != nil {
				return err
			}
			continue
		}
		under, err := filepath.Rel(at, name)
		if err != nil {
			return errs.E(op, errs.Other, err)
		}
		name = filepath.Join(part, under)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return fileError(op, err)
		}
		if err := replaceFile(name, 0o600, f.Write); err != nil {
			return err
		}
	}
	if err := os.Rename(part, at); err != nil {
		return fileError(op, err)
	}
	return nil
}
