package keras

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras/hdf5"
)

// version is the Keras whose layout is written.
const version = "3.15.1"

type obj = map[string]any

func serialized(module, class string, config any) obj {
	return obj{"module": module, "class_name": class, "config": config, "registered_name": nil}
}

// real is a number that Python reads as a float: Keras refuses an integer for some settings.
func real(v float64) json.RawMessage {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.RawMessage(s)
}

func float32Policy() obj { return serialized("keras", "DTypePolicy", obj{"name": "float32"}) }

func batch(shape []int) []any {
	out := []any{nil}
	for _, d := range shape {
		out = append(out, d)
	}
	return out
}

func initializerObject(i nn.Initializer, def string) obj {
	name := i.Name
	if name == "" {
		name = def
	}
	config := obj{}
	switch name {
	case "zeros", "ones":
	case "constant":
		config["value"] = real(i.Value)
	case "identity":
		config["gain"] = real(cmp.Or(i.Gain, 1))
	default:
		config["seed"] = nil
	}
	return serialized("keras.initializers", camel(name), config)
}

// camel is the class of a name: "glorot_uniform" is "GlorotUniform".
func camel(name string) string {
	parts := strings.Split(name, "_")
	for k, p := range parts {
		parts[k] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "")
}

// layerObject is the configuration of a layer as Keras 3 writes it.
func layerObject(l nn.Layer) (obj, error) {
	c := obj{"name": l.Name(), "trainable": true, "dtype": float32Policy()}
	switch l := l.(type) {
	case *nn.Dense:
		c["units"], c["activation"], c["use_bias"] = l.Units, l.Config.Activation, !l.Config.NoBias
		if l.Config.Activation == "gelu_tanh" {
			return nil, errs.Errorf("keras.Write", errs.Unsupported, "layer %q: Keras has no name for activation gelu_tanh", l.Name())
		}
		c["kernel_initializer"] = initializerObject(l.Config.KernelInit, "glorot_uniform")
		c["bias_initializer"] = initializerObject(l.Config.BiasInit, "zeros")
		for _, k := range []string{"kernel_regularizer", "bias_regularizer", "kernel_constraint", "bias_constraint"} {
			c[k] = nil
		}
	case *nn.Activation:
		return activationObject(l, c)
	case *nn.Dropout:
		c["rate"], c["seed"], c["noise_shape"] = real(l.Rate), nil, nil
	case *nn.Flatten:
		c["data_format"] = "channels_last"
	case *nn.Rescaling:
		c["scale"], c["offset"] = real(l.Scale), real(l.Offset)
	case *nn.Standardization:
		c["axis"], c["invert"], c["mean"], c["variance"] = []int{-1}, false, l.Mean, l.Variance
	case *nn.Normalization:
		c["axis"], c["epsilon"], c["center"], c["scale"] = l.Config.Axis, real(l.Config.Epsilon), l.Config.Center, l.Config.Scale
		if l.Batch {
			c["momentum"], c["synchronized"] = 0.99, false
		}
	default:
		return nil, errs.Errorf("keras.Write", errs.Unsupported, "layer %q of kind %s cannot be written", l.Name(), l.Kind())
	}
	return serialized("keras.layers", l.Kind(), c), nil
}

// activationObject uses the layer class of an activation that has settings.
func activationObject(l *nn.Activation, c obj) (obj, error) {
	bent, ok := l.Bent()
	switch {
	case ok && l.Function == "elu":
		c["alpha"] = real(bent.Alpha)
		return serialized("keras.layers", "ELU", c), nil
	case ok:
		c["negative_slope"], c["threshold"], c["max_value"] = real(bent.Slope), real(bent.Threshold), nil
		if !math.IsInf(bent.Max, 1) {
			c["max_value"] = real(bent.Max)
		}
		return serialized("keras.layers", "ReLU", c), nil
	case l.Function == "gelu_tanh":
		return nil, errs.Errorf("keras.Write", errs.Unsupported, "layer %q: Keras has no name for activation gelu_tanh", l.Name())
	}
	c["activation"] = l.Function
	return serialized("keras.layers", l.Kind(), c), nil
}

func modelObject(n *nn.Network) (obj, error) {
	input := obj{"batch_shape": batch(n.Input), "dtype": "float32", "sparse": false, "ragged": false, "name": "input_layer", "optional": false}
	layers := []any{serialized("keras.layers", "InputLayer", input)}
	for _, l := range n.Layers {
		o, err := layerObject(l)
		if err != nil {
			return nil, err
		}
		layers = append(layers, o)
	}
	o := serialized("keras", "Sequential", obj{
		"name": n.Name, "trainable": true, "dtype": float32Policy(), "layers": layers, "build_input_shape": batch(n.Input),
	})
	o["build_config"] = obj{"input_shape": batch(n.Input)}
	return o, nil
}

// Config is Keras's configuration of a network, as JSON.
func Config(n *nn.Network) ([]byte, error) {
	model, err := modelObject(n)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(model)
	return text, errs.E("keras.Config", errs.Other, err)
}

func array(p []float32, dims ...int) *hdf5.Dataset {
	return &hdf5.Dataset{Attrs: map[string]hdf5.Attribute{}, Dims: dims, Values: p}
}

// WriteH5 writes the HDF5 layout of Keras 3's model.save("x.h5"), which Keras 2 reads too.
func WriteH5(w io.Writer, m *Model) error {
	const op = "keras.WriteH5"
	model, err := modelObject(m.Network)
	if err != nil {
		return err
	}
	root := hdf5.NewGroup()
	text, err := json.Marshal(model)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	marks := map[string]hdf5.Attribute{"keras_version": hdf5.Text(version), "backend": hdf5.Text("tensorflow")}
	for k, v := range marks {
		root.Attrs[k] = v
	}
	root.Attrs["model_config"] = hdf5.Text(string(text))
	weights := root.Group("model_weights")
	for k, v := range marks {
		weights.Attrs[k] = v
	}
	var layers []string
	for _, l := range m.Network.Layers {
		layers = append(layers, l.Name())
		group := weights.Group(l.Name())
		names := []string{}
		for _, p := range l.Params() {
			names = append(names, m.Network.Name+"/"+l.Name()+"/"+p.Name)
			group.Group(m.Network.Name, l.Name()).Children[p.Name] = array(p.Value, p.Shape...)
		}
		group.Attrs["weight_names"] = hdf5.List(names)
	}
	weights.Attrs["layer_names"] = hdf5.List(layers)
	weights.Group("top_level_model_weights").Attrs["weight_names"] = hdf5.List([]string{})
	if m.Optimizer != nil && m.Loss != "" {
		training := m.compileObject()
		training["optimizer_config"] = optimizerObject(m.Optimizer)
		if text, err = json.Marshal(training); err != nil {
			return errs.E(op, errs.Other, err)
		}
		root.Attrs["training_config"] = hdf5.Text(string(text))
		names, arrays := m.optimizerArrays()
		state := root.Group("optimizer_weights")
		for i, name := range names {
			state.Group(m.Optimizer.Config.Type).Children[name] = arrays[i]
			names[i] = m.Optimizer.Config.Type + "/" + name
		}
		state.Attrs["weight_names"] = hdf5.List(names)
	}
	return hdf5.Write(w, root)
}

// WriteKeras writes a .keras archive.
func WriteKeras(w io.Writer, m *Model) error {
	const op = "keras.WriteKeras"
	model, err := modelObject(m.Network)
	if err != nil {
		return err
	}
	root := hdf5.NewGroup()
	root.Group("vars").Attrs["name"] = hdf5.Text(m.Network.Name)
	for i, name := range archiveNames(m.Network) {
		l := m.Network.Layers[i]
		vars := root.Group("layers", name, "vars")
		vars.Attrs["name"] = hdf5.Text(l.Name())
		for j, p := range l.Params() {
			vars.Children[itoa(j)] = array(p.Value, p.Shape...)
		}
	}
	if m.Optimizer != nil && m.Loss != "" {
		compile := m.compileObject()
		compile["optimizer"] = optimizerObject(m.Optimizer)
		model["compile_config"] = compile
		vars := root.Group("optimizer", "vars")
		vars.Attrs["name"] = hdf5.Text(m.Optimizer.Config.Type)
		_, arrays := m.optimizerArrays()
		for i, a := range arrays {
			vars.Children[itoa(i)] = a
		}
	}
	z := zip.NewWriter(w)
	for _, part := range []struct {
		name string
		body any
	}{{"metadata.json", obj{"keras_version": version}}, {"config.json", model}} {
		f, err := z.Create(part.name)
		if err != nil {
			return errs.E(op, errs.Other, err)
		}
		if err := json.NewEncoder(f).Encode(part.body); err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	f, err := z.CreateHeader(&zip.FileHeader{Name: "model.weights.h5", Method: zip.Store})
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	if err := hdf5.Write(f, root); err != nil {
		return err
	}
	return errs.E(op, errs.Other, z.Close())
}
