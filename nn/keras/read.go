// Package keras reads and writes Keras's own files: HDF5 (.h5, in the layouts of Keras 2 and 3) and the .keras archive.
//
// What is read is a chain of layers: Sequential models, and functional ones whose layers follow one another. A layer or
// a setting that nn does not have is named in the error. Files come from anywhere: the HDF5 reader is bounded (see
// package hdf5), archives are limited in what they unpack to, and the shapes of all weights must be those that the
// configuration needs.
package keras

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras/hdf5"
)

const (
	maxConfig  = 16 << 20 // bytes of a model's configuration
	maxWidth   = 1 << 22  // values of one row in any layer
	maxPacking = 64       // times that weights are smaller in a file than unpacked
)

// limit is what a file of that size can hold.
func limit(size int64) nn.Limit {
	return nn.Limit{Weights: int(maxPacking*size + 1<<16), Width: maxWidth}
}

// Model is what a file holds.
type Model struct {
	Network   *nn.Network
	Optimizer *nn.Optimizer // nil where the file has none that nn knows
	Loss      string        // "" where the model was not compiled
	// FromLogits says that the loss takes outputs before softmax or sigmoid.
	FromLogits bool
	Metrics    []string
}

// Read reads a file of either kind and gives the network with its weights.
func Read(r io.ReaderAt, size int64) (*nn.Network, error) {
	m, err := ReadModel(r, size)
	if err != nil {
		return nil, err
	}
	return m.Network, nil
}

// ReadModel reads a file of either kind.
func ReadModel(r io.ReaderAt, size int64) (*Model, error) {
	var magic [4]byte
	if n, err := r.ReadAt(magic[:], 0); n == len(magic) {
		switch {
		case string(magic[:]) == "PK\x03\x04":
			return readArchive(r, size)
		case hdf5.Is(r):
			return readH5(r, size)
		}
	} else if err != nil && err != io.EOF {
		return nil, errs.E("keras.Read", errs.KindOf(err), err)
	}
	return nil, errs.Errorf("keras.Read", errs.Invalid, "neither a Keras HDF5 file nor a .keras archive: it begins with % x", magic)
}

func bad(format string, args ...any) error {
	return errs.Errorf("keras.Read", errs.Invalid, format, args...)
}

func readH5(r io.ReaderAt, size int64) (*Model, error) {
	root, err := hdf5.Open(r, size)
	if err != nil {
		return nil, err
	}
	config := root.Attrs["model_config"].String()
	if config == "" {
		return nil, bad("the HDF5 file holds no model_config: it has weights only, or was not written by Keras's model.save")
	}
	m, err := fromConfig([]byte(config), limit(size))
	if err != nil {
		return nil, err
	}
	weights, ok := root.Find("model_weights").(*hdf5.Group)
	if !ok {
		return nil, bad("the HDF5 file has no group model_weights")
	}
	for _, l := range m.Network.Layers {
		if len(l.Params()) == 0 {
			continue
		}
		group, ok := weights.Find(l.Name()).(*hdf5.Group)
		if !ok {
			return nil, bad("layer %q has no weights in the file", l.Name())
		}
		names := group.Attrs["weight_names"].Strings
		if len(names) != len(l.Params()) {
			return nil, bad("layer %q has %d weights in the file and needs %d", l.Name(), len(names), len(l.Params()))
		}
		for i, p := range l.Params() {
			if err := fill(p, group.Find(split(names[i])...), l.Name()); err != nil {
				return nil, err
			}
		}
	}
	training := root.Attrs["training_config"].String()
	if training == "" {
		return m, nil
	}
	var c compiled
	if err := json.Unmarshal([]byte(training), &c); err != nil {
		return nil, bad("the training_config does not parse: %v", err)
	}
	m.compile(c, c.OptimizerConfig)
	if m.Optimizer != nil {
		if group, ok := root.Find("optimizer_weights").(*hdf5.Group); ok {
			var state []hdf5.Object
			for _, name := range group.Attrs["weight_names"].Strings {
				state = append(state, group.Find(split(name)...))
			}
			m.optimizerState(state)
		}
	}
	return m, nil
}

func split(path string) (names []string) {
	from := 0
	for i := range path {
		if path[i] == '/' {
			names = append(names, path[from:i])
			from = i + 1
		}
	}
	return append(names, path[from:])
}

// fill copies an array of the file into a parameter of the same shape.
func fill(p *nn.Param, o hdf5.Object, layer string) error {
	d, ok := o.(*hdf5.Dataset)
	if !ok {
		return bad("weight %q of layer %q is not in the file", p.Name, layer)
	}
	if len(d.Dims) != len(p.Shape) {
		return bad("weight %q of layer %q has shape %v and needs %v", p.Name, layer, d.Dims, p.Shape)
	}
	for i := range d.Dims {
		if d.Dims[i] != p.Shape[i] {
			return bad("weight %q of layer %q has shape %v and needs %v", p.Name, layer, d.Dims, p.Shape)
		}
	}
	return d.Read(p.Value)
}

func readArchive(r io.ReaderAt, size int64) (*Model, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, bad("not a whole .keras archive: %v", err)
	}
	config, err := member(z, "config.json", maxConfig)
	if err != nil {
		return nil, err
	}
	m, err := fromConfig(config, limit(size))
	if err != nil {
		return nil, err
	}
	weights, n, err := weightsFile(z, r, size)
	if err != nil {
		return nil, err
	}
	root, err := hdf5.Open(weights, n)
	if err != nil {
		return nil, err
	}
	for i, name := range archiveNames(m.Network) {
		l := m.Network.Layers[i]
		for j, p := range l.Params() {
			if err := fill(p, root.Find("layers", name, "vars", itoa(j)), l.Name()); err != nil {
				return nil, err
			}
		}
	}
	var whole struct {
		Compile *struct {
			compiled
			Optimizer json.RawMessage `json:"optimizer"`
		} `json:"compile_config"`
	}
	if err := json.Unmarshal(config, &whole); err != nil || whole.Compile == nil {
		return m, nil //nolint:nilerr // a configuration of another form is a model that was not compiled
	}
	m.compile(whole.Compile.compiled, whole.Compile.Optimizer)
	if m.Optimizer == nil {
		return m, nil
	}
	var state []hdf5.Object
	for i := range 2 + len(m.Optimizer.Slots)*len(m.Optimizer.Config.SlotNames()) {
		state = append(state, root.Find("optimizer", "vars", itoa(i)))
	}
	m.optimizerState(state)
	return m, nil
}

// weightsFile finds the weights. Keras stores them as they are, and so they are read where they lie, after a pass over
// them for their check sum; packed ones are unpacked into memory.
func weightsFile(z *zip.Reader, r io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	const name = "model.weights.h5"
	i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == name })
	if i < 0 || z.File[i].Method != zip.Store {
		b, err := member(z, name, maxPacking*size)
		return bytes.NewReader(b), int64(len(b)), err
	}
	f := z.File[i]
	from, err := f.DataOffset()
	if err != nil {
		return nil, 0, bad("%s in the .keras archive is not there: %v", name, err)
	}
	n := int64(min(f.UncompressedSize64, uint64(size)))
	in, err := f.Open()
	if err != nil {
		return nil, 0, bad("%s in the .keras archive cannot be read: %v", name, err)
	}
	defer in.Close()
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, 0, bad("%s in the .keras archive is damaged: %v", name, err)
	}
	return io.NewSectionReader(r, from, n), n, nil
}

// member unpacks one file of an archive, up to a limit.
func member(z *zip.Reader, name string, limit int64) ([]byte, error) {
	f, err := z.Open(name)
	if err != nil {
		return nil, bad("the .keras archive has no %s", name)
	}
	defer f.Close()
	// Pieces, so that a header that lies does not take memory.
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, bad("%s in the .keras archive does not unpack: %v", name, err)
	}
	if int64(len(b)) > limit {
		return nil, errs.Errorf("keras.Read", errs.TooLarge, "%s in the .keras archive is larger than %d bytes", name, limit)
	}
	return b, nil
}
