package keras

import (
	"encoding/json"
	"strings"

	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras/hdf5"
)

// compiled is what compile was told.
type compiled struct {
	Loss            json.RawMessage `json:"loss"`
	Metrics         json.RawMessage `json:"metrics"`
	OptimizerConfig json.RawMessage `json:"optimizer_config"`
}

// compile takes over the loss, the metrics and the optimiser, as far as they are known.
func (m *Model) compile(c compiled, optimizer json.RawMessage) {
	if json.Unmarshal(c.Loss, &m.Loss) != nil {
		var o struct {
			Class  string `json:"class_name"`
			Config struct {
				FromLogits bool `json:"from_logits"`
			} `json:"config"`
		}
		if json.Unmarshal(c.Loss, &o) == nil {
			m.Loss, m.FromLogits = snake(o.Class), o.Config.FromLogits
		}
	}
	if m.Loss == "mse" {
		m.Loss = "mean_squared_error"
	}
	if json.Unmarshal(c.Metrics, &m.Metrics) != nil {
		m.Metrics = nil
	}
	if cfg, ok := optimizerConfig(optimizer); ok {
		if opt, err := nn.NewOptimizer(cfg, m.Network.Params()); err == nil {
			m.Optimizer = opt
		}
	}
}

// optimizerConfig reads an optimiser's name or its object. One with a setting that nn does not have is not known: it
// would go on differently.
func optimizerConfig(raw json.RawMessage) (cfg nn.OptimizerConfig, ok bool) {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return nn.OptimizerConfig{Type: strings.ToLower(name)}, name != ""
	}
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return cfg, false
	}
	var c struct {
		LearningRate json.RawMessage `json:"learning_rate"`
		Beta1        float64         `json:"beta_1"`
		Beta2        float64         `json:"beta_2"`
		Epsilon      float64         `json:"epsilon"`
		Rho          float64         `json:"rho"`
		Momentum     float64         `json:"momentum"`
		Nesterov     bool            `json:"nesterov"`
		Centered     bool            `json:"centered"`

		AMSGrad        bool     `json:"amsgrad"`
		UseEMA         bool     `json:"use_ema"`
		WeightDecay    *float64 `json:"weight_decay"`
		ClipNorm       *float64 `json:"clipnorm"`
		ClipValue      *float64 `json:"clipvalue"`
		GlobalClipNorm *float64 `json:"global_clipnorm"`
		LossScale      *float64 `json:"loss_scale_factor"`
		Accumulate     *int     `json:"gradient_accumulation_steps"`
	}
	var rate float64
	if json.Unmarshal(o.Config, &c) != nil || json.Unmarshal(c.LearningRate, &rate) != nil {
		return cfg, false
	}
	more := c.ClipNorm != nil || c.ClipValue != nil || c.GlobalClipNorm != nil || c.LossScale != nil || c.Accumulate != nil
	if more || c.AMSGrad || c.UseEMA || (c.WeightDecay != nil && *c.WeightDecay != 0) {
		return cfg, false
	}
	return nn.OptimizerConfig{
		Type: strings.ToLower(strings.TrimPrefix(o.Class, "Custom>")), LearningRate: rate, Beta1: c.Beta1, Beta2: c.Beta2,
		Epsilon: c.Epsilon, Rho: c.Rho, Momentum: c.Momentum, Nesterov: c.Nesterov, Centered: c.Centered,
	}, true
}

// slotOrder gives, for each of the optimiser's arrays in Keras's order, its weight and its slot: Adam makes all slots of
// a weight together, the others make one slot of all weights after another.
func slotOrder(o *nn.Optimizer) (order [][2]int) {
	slots := len(o.Config.SlotNames())
	if o.Config.Type == "adam" {
		for w := range o.Slots {
			for s := range slots {
				order = append(order, [2]int{w, s})
			}
		}
		return order
	}
	for s := range slots {
		for w := range o.Slots {
			order = append(order, [2]int{w, s})
		}
	}
	return order
}

// optimizerState takes over iterations and slots, in Keras 3's order (iteration, learning rate, then the slots) or
// Keras 2's (without the learning rate). State that does not fit is left out: the optimiser starts afresh.
func (m *Model) optimizerState(state []hdf5.Object) {
	var arrays [][]float32
	var rank []int
	for _, o := range state {
		d, ok := o.(*hdf5.Dataset)
		if !ok {
			return
		}
		v, err := d.Floats()
		if err != nil {
			return
		}
		arrays, rank = append(arrays, v), append(rank, len(d.Dims))
	}
	if len(arrays) == 0 || rank[0] != 0 {
		return
	}
	rest := arrays[1:]
	rate := float32(m.Optimizer.Config.LearningRate)
	if len(rest) > 0 && rank[1] == 0 {
		rate, rest = rest[0][0], rest[1:]
	}
	var want [][]float32
	for _, at := range slotOrder(m.Optimizer) {
		want = append(want, m.Optimizer.Slots[at[0]][at[1]])
	}
	if len(rest) != len(want) {
		return
	}
	for i := range want {
		if len(rest[i]) != len(want[i]) {
			return
		}
	}
	for i := range want {
		copy(want[i], rest[i])
	}
	m.Optimizer.Iterations = int64(arrays[0][0])
	if rate != float32(m.Optimizer.Config.LearningRate) { // it was changed while training
		m.Optimizer.Config.LearningRate = float64(rate)
	}
}

func (m *Model) compileObject() obj {
	metrics := m.Metrics
	if metrics == nil {
		metrics = []string{}
	}
	var loss any = m.Loss
	if m.FromLogits {
		loss = serialized("keras.losses", camel(m.Loss), obj{"name": m.Loss, "reduction": "sum_over_batch_size", "from_logits": true})
	}
	return obj{"loss": loss, "loss_weights": nil, "metrics": metrics, "weighted_metrics": nil, "run_eagerly": false, "steps_per_execution": 1, "jit_compile": false}
}

func optimizerObject(o *nn.Optimizer) obj {
	c := o.Config
	config := obj{
		"name": c.Type, "learning_rate": real(c.LearningRate), "weight_decay": nil, "clipnorm": nil, "global_clipnorm": nil, "clipvalue": nil,
		"use_ema": false, "ema_momentum": 0.99, "ema_overwrite_frequency": nil, "loss_scale_factor": nil, "gradient_accumulation_steps": nil,
	}
	class := map[string]string{"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}[c.Type]
	switch c.Type {
	case "adam":
		config["beta_1"], config["beta_2"], config["epsilon"], config["amsgrad"] = real(c.Beta1), real(c.Beta2), real(c.Epsilon), false
	case "sgd":
		config["momentum"], config["nesterov"] = real(c.Momentum), c.Nesterov
	case "rmsprop":
		config["rho"], config["momentum"], config["epsilon"], config["centered"] = real(c.Rho), real(c.Momentum), real(c.Epsilon), c.Centered
	}
	return serialized("keras.optimizers", class, config)
}

// optimizerArrays are the optimiser's variables in Keras 3's order with their names.
func (m *Model) optimizerArrays() (names []string, arrays []*hdf5.Dataset) {
	o := m.Optimizer
	iteration := array([]float32{float32(o.Iterations)})
	iteration.Integer = true
	names = []string{"iteration", "learning_rate"}
	arrays = []*hdf5.Dataset{iteration, array([]float32{float32(o.Config.LearningRate)})}
	var weights []*nn.Param
	var owners []string
	for _, l := range m.Network.Layers {
		for _, p := range l.Params() {
			if p.Trainable {
				weights, owners = append(weights, p), append(owners, l.Name())
			}
		}
	}
	for _, at := range slotOrder(o) {
		p := weights[at[0]]
		names = append(names, m.Network.Name+"_"+owners[at[0]]+"_"+p.Name+"_"+o.Config.SlotNames()[at[1]])
		arrays = append(arrays, array(o.Slots[at[0]][at[1]], p.Shape...))
	}
	return names, arrays
}
