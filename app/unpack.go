package app

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// maxCode bounds an uploaded code folder, packed and unpacked.
const maxCode = int64(256 * units.MiB)

// unpack gives a task the files of an uploaded code folder.
func (l *launcher) unpack(ctx context.Context, digest string, out *exec.Task) error {
	const op = "app.unpack"
	if digest == "" {
		return nil
	}
	info, err := l.code.Info(ctx, digest)
	if err != nil {
		return err
	}
	packed, err := l.code.open(ctx, info)
	if err != nil {
		return err
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		return errs.E(op, errs.Corrupt, err)
	}
	left := maxCode
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errs.E(op, errs.Corrupt, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if left -= h.Size; left < 0 {
			return errs.Errorf(op, errs.TooLarge, "the job's code unpacks to more than %d bytes: leave large files out by a .lineshaftignore, and import them as a data set", maxCode)
		}
		var b bytes.Buffer
		if _, err := io.Copy(&b, tr); err != nil {
			return errs.E(op, errs.Corrupt, err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		out.Files = append(out.Files, exec.File{Name: name, Data: b.Bytes(), Mode: uint32(h.Mode) & 0o755})
	}
}
