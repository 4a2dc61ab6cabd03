package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/nn/onnx"
	"github.com/lineshaft/lineshaft/nn/savedmodel"
)

// layerInfo is one layer of a file as `keras show` prints it.
type layerInfo struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Output []int  `json:"output"`
	Params int64  `json:"params"`
}

// kerasInfo is what `keras show` finds in a file.
type kerasInfo struct {
	Name      string      `json:"name"`
	Input     []int       `json:"input"`
	Output    []int       `json:"output"`
	Params    int64       `json:"params"`
	Loss      string      `json:"loss,omitempty"`
	Optimizer string      `json:"optimizer,omitempty"`
	Layers    []layerInfo `json:"layers"`
}

func kerasCommand(e *env) *cobra.Command {
	show := &cobra.Command{
		Use:   "show FILE",
		Short: "Say what a .h5 or .keras file, or a SavedModel's folder, holds and whether it can be served",
		Args:  takes,
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := readKeras(args[0])
			if err != nil {
				return err
			}
			return e.showKeras(m)
		},
	}
	convert := &cobra.Command{
		Use:     "convert FILE TO",
		Short:   "Write a model file in another format, told by the name of TO (.h5, .keras or .onnx)",
		Example: "  lineshaft keras convert model.h5 model.keras\n  lineshaft keras convert model.keras model.onnx\n  lineshaft keras convert saved_model_folder model.keras",
		Args:    takes,
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := readKeras(args[0])
			if err != nil {
				return err
			}
			if err := writeKeras(args[1], m); err != nil {
				return err
			}
			e.note("wrote %s", args[1])
			return nil
		},
	}
	return group(&cobra.Command{Use: "keras", Short: "Look into Keras files here, without a server"}, nil, nil, show, convert)
}

func readKeras(name string) (*keras.Model, error) {
	const op = "cli.readKeras"
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(op, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if info.IsDir() {
		return readSavedModel(name)
	}
	if !info.Mode().IsRegular() {
		return nil, errs.Errorf(op, errs.Invalid, "%s is no file; name a .h5 or .keras file", name)
	}
	m, err := keras.ReadModel(f, info.Size())
	if err != nil {
		return nil, errs.Errorf(op, errs.KindOf(err), "%s: %v", name, err)
	}
	return m, nil
}

// readSavedModel reads the network of a SavedModel's folder, where nn has all its layers.
func readSavedModel(dir string) (*keras.Model, error) {
	m, err := savedmodel.Read(os.DirFS(dir))
	switch {
	case err != nil:
		return nil, errs.Errorf("cli.readSavedModel", errs.KindOf(err), "%s: %v", dir, err)
	case m.Network == nil:
		return nil, errs.Errorf("cli.readSavedModel", errs.KindOf(m.Why), "%s (%s) needs TensorFlow's own runtime: %v", dir, m.Signature, m.Why)
	}
	return &keras.Model{Network: m.Network}, nil
}

func writeKeras(name string, m *keras.Model) error {
	const op = "cli.writeKeras"
	write := keras.WriteH5
	switch {
	case strings.HasSuffix(name, ".keras"):
		write = keras.WriteKeras
	case strings.HasSuffix(name, ".onnx"):
		write = func(w io.Writer, m *keras.Model) error { return onnx.Write(w, m.Network) }
	case !strings.HasSuffix(name, ".h5"):
		return errs.Errorf(op, errs.Invalid, "%s: the name must end in .h5, .keras or .onnx, which says what to write", name)
	}
	return writeFile(name, 0o666, func(w io.Writer) error { return write(w, m) })
}

func (e *env) showKeras(m *keras.Model) error {
	n := m.Network
	v := kerasInfo{Name: n.Name, Input: n.Input, Output: n.OutputShape(), Loss: m.Loss}
	if m.Optimizer != nil {
		v.Optimizer = m.Optimizer.Config.Type
	}
	for i, l := range n.Layers {
		info := layerInfo{Name: l.Name(), Type: l.Kind(), Output: n.Shapes()[i]}
		for _, p := range l.Params() {
			info.Params += int64(len(p.Value))
		}
		v.Params += info.Params
		v.Layers = append(v.Layers, info)
	}
	return e.show(v, func(w io.Writer) {
		e.details(w, "name", v.Name, "input", shapeText(v.Input), "output", shapeText(v.Output), "parameters", thousands(v.Params),
			"loss", v.Loss, "optimizer", v.Optimizer)
		fmt.Fprintln(w)
		t := newTable("no layers", "LAYER", "TYPE", "OUTPUT", "PARAMETERS>")
		for _, l := range v.Layers {
			t.row(l.Name, l.Type, shapeText(l.Output), thousands(l.Params))
		}
		e.print(w, t)
	})
}

func shapeText(shape []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", " × "), "[]")
}
