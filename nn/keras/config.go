package keras

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

// object is Keras's form of a serialised thing.
type object struct {
	Class  string          `json:"class_name"`
	Config json.RawMessage `json:"config"`
}

type modelConfig struct {
	Name         string            `json:"name"`
	Layers       []json.RawMessage `json:"layers"`
	InputLayers  json.RawMessage   `json:"input_layers"`
	OutputLayers json.RawMessage   `json:"output_layers"`
}

// layerConfig holds the fields of all layers that are known.
type layerConfig struct {
	Name              string           `json:"name"`
	BatchShape        []*int           `json:"batch_shape"`
	BatchInputShape   []*int           `json:"batch_input_shape"`
	Units             int              `json:"units"`
	Activation        json.RawMessage  `json:"activation"`
	UseBias           *bool            `json:"use_bias"`
	KernelInitializer *json.RawMessage `json:"kernel_initializer"`
	BiasInitializer   *json.RawMessage `json:"bias_initializer"`
	Rate              float64          `json:"rate"`
	NoiseShape        json.RawMessage  `json:"noise_shape"`
	Scale             json.RawMessage  `json:"scale"`
	Offset            float64          `json:"offset"`
	Axis              json.RawMessage  `json:"axis"`
	Epsilon           *float64         `json:"epsilon"`
	Center            *bool            `json:"center"`
	RMSScaling        bool             `json:"rms_scaling"`
	NegativeSlope     *float64         `json:"negative_slope"`
	Alpha             *float64         `json:"alpha"`
	MaxValue          *float64         `json:"max_value"`
	Threshold         float64          `json:"threshold"`
	Mean              json.RawMessage  `json:"mean"`
	Variance          json.RawMessage  `json:"variance"`
	Invert            bool             `json:"invert"`
}

// FromConfig builds the network that a configuration of Keras describes, with fresh weights, within a limit.
func FromConfig(text []byte, limit nn.Limit) (*nn.Network, error) {
	m, err := fromConfig(text, limit)
	if err != nil {
		return nil, err
	}
	return m.Network, nil
}

// fromConfig builds the network that a configuration describes, with fresh weights, within a limit.
func fromConfig(text []byte, limit nn.Limit) (*Model, error) {
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, bad("the model's configuration does not parse: %v", err)
	}
	if o.Class != "Sequential" && o.Class != "Functional" && o.Class != "Model" {
		return nil, errs.Errorf("keras.Read", errs.Unsupported, "model class %q is not known; Sequential models and chains of layers are", o.Class)
	}
	var c modelConfig
	if err := json.Unmarshal(o.Config, &c); err != nil {
		return nil, bad("the model's configuration does not parse: %v", err)
	}
	n := &nn.Network{Name: c.Name, Limit: limit}
	previous := ""
	for i, raw := range c.Layers {
		var l struct {
			object
			Inbound json.RawMessage `json:"inbound_nodes"`
		}
		if err := json.Unmarshal(raw, &l); err != nil {
			return nil, bad("layer %d of the model does not parse: %v", i, err)
		}
		var lc layerConfig
		if err := json.Unmarshal(l.Config, &lc); err != nil {
			return nil, bad("layer %d of the model (%s) does not parse: %v", i, l.Class, err)
		}
		if previous != "" && o.Class != "Sequential" {
			if from := inbound(l.Inbound); len(from) != 1 || from[0] != previous {
				return nil, errs.Errorf("keras.Read", errs.Unsupported, "layer %q takes its input from %v: only chains of layers are known", lc.Name, from)
			}
		}
		previous = lc.Name
		if shape := inputShape(lc); n.Input == nil && shape != nil {
			n.Input = shape
		}
		if l.Class == "InputLayer" {
			if i > 0 {
				return nil, errs.Errorf("keras.Read", errs.Unsupported, "layer %q is a second input: only models with one are known", lc.Name)
			}
			continue
		}
		layer, err := layerOf(l.Class, lc)
		if err != nil {
			return nil, err
		}
		n.Layers = append(n.Layers, layer)
	}
	if n.Input == nil {
		return nil, bad("the model does not say the shape of its input: build it before saving")
	}
	if err := n.BuildEmpty(); err != nil {
		return nil, err
	}
	return &Model{Network: n}, nil
}

// inputShape is the shape without the batch dimension; a dimension that is left open is not known here.
func inputShape(c layerConfig) []int {
	dims := c.BatchShape
	if dims == nil {
		dims = c.BatchInputShape
	}
	if len(dims) < 2 {
		return nil
	}
	var shape []int
	for _, d := range dims[1:] {
		if d == nil {
			return nil
		}
		shape = append(shape, *d)
	}
	return shape
}

// inbound lists the names of the layers that a node of a functional model takes its input from, in Keras 3's form
// (keras_history) or Keras 2's nested lists.
func inbound(raw json.RawMessage) []string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	var names []string
	var walk func(v any, depth int)
	walk = func(v any, depth int) {
		switch v := v.(type) {
		case map[string]any:
			if h, ok := v["keras_history"].([]any); ok && len(h) > 0 {
				if s, ok := h[0].(string); ok {
					names = append(names, s)
				}
				return
			}
			for _, key := range slices.Sorted(mapKeys(v)) {
				walk(v[key], depth+1)
			}
		case []any:
			if len(v) >= 3 {
				if s, ok := v[0].(string); ok {
					names = append(names, s)
					return
				}
			}
			for _, e := range v {
				walk(e, depth+1)
			}
		}
	}
	walk(v, 0)
	return names
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func yes(p *bool) bool { return p == nil || *p }

// layerOf makes the layer of a class; what nn does not have is named.
func layerOf(class string, c layerConfig) (nn.Layer, error) {
	switch class {
	case "Dense":
		act, err := activationName(c)
		if err != nil {
			return nil, err
		}
		return nn.NewDense(c.Name, c.Units, nn.DenseConfig{
			Activation: act, NoBias: !yes(c.UseBias),
			KernelInit: initializer(c.KernelInitializer), BiasInit: initializer(c.BiasInitializer),
		}), nil
	case "Activation":
		act, err := activationName(c)
		return nn.NewActivation(c.Name, act), err
	case "Softmax":
		a := nn.NewActivation(c.Name, "softmax")
		a.Axis = axis(c.Axis)
		return a, nil
	case "ELU":
		return nn.NewELU(c.Name, either(c.Alpha, 1)), nil
	case "LeakyReLU":
		return nn.NewReLU(c.Name, math.Inf(1), either(c.NegativeSlope, either(c.Alpha, 0.3)), 0), nil
	case "ReLU":
		return nn.NewReLU(c.Name, either(c.MaxValue, math.Inf(1)), either(c.NegativeSlope, 0), c.Threshold), nil
	case "Dropout":
		return nn.NewDropout(c.Name, c.Rate), nil
	case "Flatten":
		return nn.NewFlatten(c.Name), nil
	case "Rescaling":
		var scale float64
		if err := json.Unmarshal(c.Scale, &scale); err != nil {
			return nil, plainOnly(c, false)
		}
		return nn.NewRescaling(c.Name, scale, c.Offset), nil
	case "Normalization":
		return standardization(c)
	case "BatchNormalization", "LayerNormalization":
		cfg := nn.NormConfig{Axis: axis(c.Axis), Epsilon: either(c.Epsilon, 0.001), Center: yes(c.Center), Scale: string(c.Scale) != "false"}
		if class == "BatchNormalization" {
			return nn.NewBatchNormalization(c.Name, cfg), nil
		}
		return nn.NewLayerNormalization(c.Name, cfg), plainOnly(c, !c.RMSScaling)
	}
	return nil, errs.Errorf("keras.Read", errs.Unsupported, "layer %q is of class %q, which is not known yet; known are Dense, Activation, Softmax, ReLU, LeakyReLU, ELU, Dropout, Flatten, Rescaling, Normalization, BatchNormalization and LayerNormalization", c.Name, class)
}

// standardization has its numbers in the configuration, as one or as one for each input, or, where it was adapted to
// data, as weights.
func standardization(c layerConfig) (nn.Layer, error) {
	mean, ok := floats(c.Mean)
	variance, too := floats(c.Variance)
	last := axis(c.Axis)
	if string(c.Axis) == "[]" && len(mean) == 1 { // one number for all
		last = -1
	}
	if !ok || !too || c.Invert || last == -2 {
		return nil, plainOnly(c, false)
	}
	return nn.NewStandardization(c.Name, last, mean, variance), nil
}

// floats reads a number or a list of numbers; nothing is nil.
func floats(raw json.RawMessage) (v []float32, ok bool) {
	var one float32
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, true
	case json.Unmarshal(raw, &one) == nil:
		return []float32{one}, true
	}
	err := json.Unmarshal(raw, &v)
	return v, err == nil
}

func either(v *float64, def float64) float64 {
	if v == nil {
		return def
	}
	return *v
}

func plainOnly(c layerConfig, ok bool) error {
	if ok {
		return nil
	}
	return errs.Errorf("keras.Read", errs.Unsupported, "layer %q has settings that are not known; only the defaults are", c.Name)
}

func axis(raw json.RawMessage) int {
	var one int
	if json.Unmarshal(raw, &one) == nil {
		return one
	}
	var list []int
	if json.Unmarshal(raw, &list) == nil && len(list) == 1 {
		return list[0]
	}
	return -2 // refused by Build
}

// activationName reads a name, or an object with one.
func activationName(c layerConfig) (string, error) {
	var name string
	if len(c.Activation) == 0 || string(c.Activation) == "null" || json.Unmarshal(c.Activation, &name) == nil {
		return name, nil
	}
	var o struct {
		Class  string `json:"class_name"`
		Config any    `json:"config"`
	}
	if json.Unmarshal(c.Activation, &o) == nil {
		if s, ok := o.Config.(string); ok {
			return s, nil
		}
	}
	return "", errs.Errorf("keras.Read", errs.Unsupported, "layer %q has an activation that is not known: %.80s", c.Name, c.Activation)
}

// initializer keeps the name; a file's weights are filled in anyway.
func initializer(raw *json.RawMessage) nn.Initializer {
	var o object
	if raw == nil || json.Unmarshal(*raw, &o) != nil {
		return nn.Initializer{}
	}
	name := snake(o.Class)
	if !slices.Contains([]string{"zeros", "ones", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal"}, name) {
		return nn.Initializer{}
	}
	return nn.Initializer{Name: name}
}

// snake writes a class name as Keras does in file names: "BatchNormalization" is "batch_normalization".
func snake(class string) string {
	var b strings.Builder
	for i, r := range class {
		if unicode.IsUpper(r) && i > 0 && (i+1 < len(class) && unicode.IsLower(rune(class[i+1])) || unicode.IsLower(rune(class[i-1]))) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// archiveNames are the names of the layers' groups in a .keras archive: the class, numbered from the second on. The
// input layer has no group.
func archiveNames(n *nn.Network) []string {
	seen := map[string]int{}
	var names []string
	for _, l := range n.Layers {
		name := snake(l.Kind())
		if k := seen[name]; k > 0 {
			names = append(names, name+"_"+itoa(k))
		} else {
			names = append(names, name)
		}
		seen[name]++
	}
	return names
}

func itoa(n int) string { return strconv.Itoa(n) }
