package nn

import (
	"fmt"
	"math"

	"github.com/lineshaft/lineshaft/nn/kernel"
)

// OptimizerConfig says how weights follow gradients. Zero fields have Keras's defaults for the type.
type OptimizerConfig struct {
	Type         string  `json:"type" yaml:"type"` // sgd, rmsprop, adam
	LearningRate float64 `json:"learning_rate,omitempty" yaml:"learning_rate,omitempty"`
	Momentum     float64 `json:"momentum,omitempty" yaml:"momentum,omitempty"` // sgd, rmsprop
	Nesterov     bool    `json:"nesterov,omitempty" yaml:"nesterov,omitempty"` // sgd
	Rho          float64 `json:"rho,omitempty" yaml:"rho,omitempty"`           // rmsprop
	Centered     bool    `json:"centered,omitempty" yaml:"centered,omitempty"` // rmsprop
	Beta1        float64 `json:"beta_1,omitempty" yaml:"beta_1,omitempty"`     // adam
	Beta2        float64 `json:"beta_2,omitempty" yaml:"beta_2,omitempty"`     // adam
	Epsilon      float64 `json:"epsilon,omitempty" yaml:"epsilon,omitempty"`   // rmsprop, adam
}

func orDefault(v *float64, def float64) {
	if *v == 0 {
		*v = def
	}
}

// Defaults fills in what was not said.
func (c OptimizerConfig) Defaults() OptimizerConfig {
	switch c.Type {
	case "sgd":
		orDefault(&c.LearningRate, 0.01)
	case "rmsprop":
		orDefault(&c.LearningRate, 0.001)
		orDefault(&c.Rho, 0.9)
	case "adam", "":
		c.Type = "adam"
		orDefault(&c.LearningRate, 0.001)
		orDefault(&c.Beta1, 0.9)
		orDefault(&c.Beta2, 0.999)
	}
	orDefault(&c.Epsilon, 1e-7)
	return c
}

// Validate refuses what cannot learn.
func (c OptimizerConfig) Validate() error {
	c = c.Defaults()
	unit := func(name string, v float64) error {
		if !(v >= 0 && v < 1) {
			return fmt.Errorf("optimizer.%s is %v: it must be from 0 to below 1", name, v)
		}
		return nil
	}
	switch c.Type {
	case "sgd", "rmsprop", "adam":
	default:
		return fmt.Errorf("optimizer.type %q is not known; there are sgd, rmsprop and adam", c.Type)
	}
	if !(c.LearningRate > 0 && !math.IsInf(c.LearningRate, 0)) {
		return fmt.Errorf("optimizer.learning_rate is %v: it must be above 0", c.LearningRate)
	}
	for name, v := range map[string]float64{"momentum": c.Momentum, "rho": c.Rho, "beta_1": c.Beta1, "beta_2": c.Beta2} {
		if err := unit(name, v); err != nil {
			return err
		}
	}
	return nil
}

// SlotNames are the arrays an optimiser keeps beside every trainable parameter, in Keras's order.
func (c OptimizerConfig) SlotNames() []string {
	c = c.Defaults()
	switch {
	case c.Type == "adam":
		return []string{"momentum", "velocity"}
	case c.Type == "rmsprop":
		names := []string{"velocity"}
		if c.Momentum > 0 {
			names = append(names, "momentum")
		}
		if c.Centered {
			names = append(names, "average_gradient")
		}
		return names
	case c.Momentum > 0:
		return []string{"momentum"}
	}
	return nil
}

// Optimizer holds the state of training beside the weights.
type Optimizer struct {
	Config     OptimizerConfig
	Iterations int64
	Slots      [][]([]float32) // by trainable parameter, then in the order of SlotNames

	params []*Param
	index  map[*Param]int
	slots  [][]([]float32) // those that work, in the order of Param.working
	adam   kernel.Adam
}

// NewOptimizer makes an optimiser for the trainable ones of params.
func NewOptimizer(cfg OptimizerConfig, params []*Param) (*Optimizer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o := &Optimizer{Config: cfg.Defaults(), index: map[*Param]int{}}
	for _, p := range params {
		if !p.Trainable {
			continue
		}
		o.index[p] = len(o.Slots)
		o.params = append(o.params, p)
		var slots [][]float32
		for range o.Config.SlotNames() {
			slots = append(slots, make([]float32, len(p.Value)))
		}
		o.Slots = append(o.Slots, slots)
	}
	return o, nil
}

// learn takes the slots over in the order in which the parameters learn.
func (o *Optimizer) learn() {
	o.slots = nil
	for k, p := range o.params {
		work := o.Slots[k]
		if p.panels != nil {
			work = nil
			for _, slot := range o.Slots[k] {
				q := *p.panels
				q.Data = make([]float32, len(p.panels.Data))
				q.PackRows(slot, q.N, 0, q.K)
				work = append(work, q.Data)
			}
		}
		o.slots = append(o.slots, work)
	}
}

// sync brings Slots and the parameters' values up to date.
func (o *Optimizer) sync() {
	for k, p := range o.params {
		if p.panels == nil {
			continue
		}
		p.panels.Unpack(p.Value, p.panels.Data)
		for s, slot := range o.Slots[k] {
			p.panels.Unpack(slot, o.slots[k][s])
		}
	}
}

// begin counts a step; Keras folds Adam's bias corrections into the step size.
func (o *Optimizer) begin() {
	o.Iterations++
	c := o.Config
	t := float64(o.Iterations)
	o.adam = kernel.Adam{
		LR:         float32(c.LearningRate * math.Sqrt(1-math.Pow(c.Beta2, t)) / (1 - math.Pow(c.Beta1, t))),
		OneMinusB1: float32(1 - c.Beta1),
		OneMinusB2: float32(1 - c.Beta2),
		Eps:        float32(c.Epsilon),
	}
}

// update moves the elements of a parameter from lo on along their gradient.
func (o *Optimizer) update(set *kernel.Set, p *Param, lo int, g []float32) {
	k, ok := o.index[p]
	if !ok {
		return
	}
	hi := lo + len(g)
	w := p.working()[lo:hi]
	slot := func(i int) []float32 { return o.slots[k][i][lo:hi] }
	switch o.Config.Type {
	case "adam":
		set.Adam(w, slot(0), slot(1), g, o.adam)
	case "rmsprop":
		o.rmsprop(w, g, slot)
	default:
		o.sgd(w, g, slot)
	}
}

func (o *Optimizer) sgd(w, g []float32, slot func(int) []float32) {
	lr, mu := float32(o.Config.LearningRate), float32(o.Config.Momentum)
	if mu == 0 {
		for i, d := range g {
			w[i] -= lr * d
		}
		return
	}
	m := slot(0)
	for i, d := range g {
		m[i] = mu*m[i] - lr*d
		if o.Config.Nesterov {
			w[i] += mu*m[i] - lr*d
		} else {
			w[i] += m[i]
		}
	}
}

func (o *Optimizer) rmsprop(w, g []float32, slot func(int) []float32) {
	c := o.Config
	lr, rho, mu, eps := float32(c.LearningRate), float32(c.Rho), float32(c.Momentum), float32(c.Epsilon)
	v := slot(0)
	var m, avg []float32
	next := 1
	if mu > 0 {
		m = slot(next)
		next++
	}
	if c.Centered {
		avg = slot(next)
	}
	for i, d := range g {
		v[i] = rho*v[i] + (1-rho)*d*d
		under := v[i] + eps
		if avg != nil {
			avg[i] = rho*avg[i] + (1-rho)*d
			under -= avg[i] * avg[i]
		}
		s := lr * d / float32(math.Sqrt(float64(under)))
		if m != nil {
			m[i] = mu*m[i] + s
			s = m[i]
		}
		w[i] -= s
	}
}
