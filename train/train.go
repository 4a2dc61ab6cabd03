// Package train runs the built-in trainer: epochs of batches on nn, with validation, metrics and checkpoints.
//
// A run is determined by its configuration, its data, the kernel set and the number of threads. Everything random is
// drawn anew each epoch from the seed and the epoch's number, so a checkpoint after an epoch holds weights, optimiser
// state and the number, and a run that was killed and resumed ends with the same weights, bit for bit, as one that was
// not.
package train

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
)

// Config is the `train:` part of a job's specification.
type Config struct {
	Preprocess Preprocess         `json:"preprocess,omitzero" yaml:"preprocess,omitempty"`
	Layers     []nn.LayerSpec     `json:"layers" yaml:"layers"`
	Optimizer  nn.OptimizerConfig `json:"optimizer" yaml:"optimizer"`
	Loss       string             `json:"loss" yaml:"loss"`
	FromLogits bool               `json:"from_logits,omitempty" yaml:"from_logits,omitempty"`
	Metrics    []string           `json:"metrics,omitempty" yaml:"metrics,omitempty"`
	Batch      int                `json:"batch,omitempty" yaml:"batch,omitempty"`   // 32
	Epochs     int                `json:"epochs,omitempty" yaml:"epochs,omitempty"` // 1
	Seed       uint64             `json:"seed,omitempty" yaml:"seed,omitempty"`
	Threads    int                `json:"threads,omitempty" yaml:"threads,omitempty"` // 0: what the job was given
	Shuffle    *bool              `json:"shuffle,omitempty" yaml:"shuffle,omitempty"` // true
	Validation Validation         `json:"validation,omitzero" yaml:"validation,omitempty"`
	Target     []string           `json:"target,omitempty" yaml:"target,omitempty"` // columns of a CSV file; the last one
	Header     *bool              `json:"header,omitempty" yaml:"header,omitempty"` // of a CSV file; found out
}

// Defaults fills in what was not said.
func (c Config) Defaults() Config {
	if c.Batch == 0 {
		c.Batch = 32
	}
	if c.Epochs == 0 {
		c.Epochs = 1
	}
	if c.Loss == "" {
		c.Loss = "categorical_crossentropy"
	}
	c.Optimizer = c.Optimizer.Defaults()
	return c
}

// Validate says what is wrong with the configuration, without data.
func (c Config) Validate() error {
	const op = "train.Config"
	c = c.Defaults()
	if c.Batch < 1 || c.Batch > 1<<16 || c.Epochs < 1 || c.Epochs > 1_000_000 {
		return errs.Errorf(op, errs.Invalid, "train: batch must be 1 to 65536 and epochs 1 to 1000000, are %d and %d", c.Batch, c.Epochs)
	}
	if c.Threads < 0 || c.Threads > 1024 {
		return errs.Errorf(op, errs.Invalid, "train: threads must be 0 to 1024, is %d", c.Threads)
	}
	if len(c.Layers) == 0 {
		return errs.Errorf(op, errs.Invalid, "train: no layers; give at least one dense layer")
	}
	if _, err := (nn.NetworkSpec{Layers: c.Layers}).Network([]int{1}); err != nil {
		return errs.Errorf(op, errs.Invalid, "train.%v", err)
	}
	if err := c.Optimizer.Validate(); err != nil {
		return errs.Errorf(op, errs.Invalid, "train.%v", err)
	}
	if _, err := nn.NewLoss(c.Loss, c.FromLogits); err != nil {
		return errs.Errorf(op, errs.Invalid, "train: %v", err)
	}
	if err := c.Validation.validate(); err != nil {
		return errs.E(op, errs.Invalid, err)
	}
	if err := c.Preprocess.validate(); err != nil {
		return errs.Errorf(op, errs.Invalid, "train.%v", err)
	}
	for _, m := range c.Metrics {
		if m != "accuracy" {
			return errs.Errorf(op, errs.Invalid, "train: metric %q is not known; there is accuracy", m)
		}
	}
	return nil
}

// Epoch is what one epoch came to. Means are over rows.
type Epoch struct {
	Epoch, Epochs            int
	Loss, Accuracy           float64
	ValLoss, ValAccuracy     float64
	HasValidation, HasMetric bool
}

// Hooks let the caller follow; any may be nil. An error ends the run.
type Hooks struct {
	// Batch is called after every step of an epoch with the means so far.
	Batch func(epoch, step, steps int, loss, accuracy float64) error
	// Epoch is called after every epoch, before its checkpoint.
	Epoch func(Epoch) error
	// Checkpoint is called after every epoch; write writes the checkpoint.
	Checkpoint func(epoch int, write func(io.Writer) error) error
}

// Result is a trained network.
type Result struct {
	Net     *nn.Network
	Opt     *nn.Optimizer
	Loss    *nn.Loss
	Last    Epoch
	Kernels string
	metrics []string
}

type run struct {
	cfg   Config
	data  *Dataset
	val   *Dataset
	tr    *nn.Trainer
	scale float32
	width int
	order []int32
}

// Run trains on data and measures on val (may be nil) after each epoch. resume is a checkpoint or nil.
func Run(ctx context.Context, cfg Config, data, val *Dataset, resume io.Reader, hooks Hooks) (*Result, error) {
	const op = "train.Run"
	cfg = cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r, err := newRun(cfg, data, val)
	if err != nil {
		return nil, err
	}
	defer r.tr.Close()
	res := &Result{metrics: cfg.Metrics, Net: r.tr.Net, Opt: r.tr.Opt, Loss: r.tr.Loss, Kernels: r.tr.Set().Name}
	done := 0
	if resume != nil {
		if done, err = readCheckpoint(resume, r.tr.Net, r.tr.Opt, &res.Last); err != nil {
			return nil, err
		}
		r.tr.Refresh()
	}
	for epoch := done; epoch < cfg.Epochs; epoch++ {
		e, err := r.epoch(ctx, epoch, hooks)
		if err != nil {
			return nil, errs.E(op, errs.Other, err)
		}
		res.Last = e
		r.tr.Sync()
		if hooks.Epoch != nil {
			if err := hooks.Epoch(e); err != nil {
				return nil, err
			}
		}
		if hooks.Checkpoint != nil {
			write := func(w io.Writer) error { return writeCheckpoint(w, epoch+1, r.tr.Net, r.tr.Opt, e) }
			if err := hooks.Checkpoint(epoch+1, write); err != nil {
				return nil, err
			}
		}
	}
	return res, nil
}

func newRun(cfg Config, data, val *Dataset) (*run, error) {
	const op = "train.Run"
	if err := data.Validate(); err != nil {
		return nil, err
	}
	if val != nil {
		if err := val.Validate(); err != nil {
			return nil, err
		}
	}
	net, err := nn.NetworkSpec{Layers: cfg.Layers}.Network(data.Shape)
	if err != nil {
		return nil, err
	}
	if l := cfg.Preprocess.layer(data); l != nil {
		net.Layers = slices.Insert(net.Layers, 0, l)
	}
	if err := net.Build(cfg.Seed); err != nil {
		return nil, err
	}
	loss, err := nn.NewLoss(cfg.Loss, cfg.FromLogits)
	if err != nil {
		return nil, errs.E(op, errs.Invalid, err)
	}
	opt, err := nn.NewOptimizer(cfg.Optimizer, net.Params())
	if err != nil {
		return nil, errs.E(op, errs.Invalid, err)
	}
	out := 1
	for _, n := range net.OutputShape() {
		out *= n
	}
	if want := max(data.Classes, data.Outputs); out < want || (!loss.Sparse && out != want) {
		return nil, errs.Errorf(op, errs.Invalid, "the network has %d outputs and the data %d classes or values: give the last layer %d units", out, want, want)
	}
	if data.Classes == 0 && loss.Sparse {
		return nil, errs.Errorf(op, errs.Invalid, "loss %s needs classes, the data has values", loss.Name)
	}
	tr, err := nn.NewTrainer(net, loss, opt, min(cfg.Batch, data.Rows), max(1, cfg.Threads), nil)
	if err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, data: data, val: val, tr: tr, width: len(data.Bytes)/data.Rows + len(data.Floats)/data.Rows}
	r.scale = cfg.Preprocess.scale()
	r.order = make([]int32, data.Rows)
	return r, nil
}

// shuffle orders the rows of an epoch.
func (r *run) shuffle(epoch int) {
	for i := range r.order {
		r.order[i] = int32(i)
	}
	if r.cfg.Shuffle == nil || *r.cfg.Shuffle {
		rng := rand.New(rand.NewPCG(r.cfg.Seed, 0x73687566666c65<<8|uint64(epoch)))
		rng.Shuffle(len(r.order), func(i, j int) { r.order[i], r.order[j] = r.order[j], r.order[i] })
	}
}

func (r *run) epoch(ctx context.Context, epoch int, hooks Hooks) (Epoch, error) {
	r.shuffle(epoch)
	r.tr.Seed(r.cfg.Seed, uint64(epoch))
	batch := min(r.cfg.Batch, r.data.Rows)
	steps := (r.data.Rows + batch - 1) / batch
	loss, correct, seen := 0.0, 0, 0
	for s := range steps {
		if err := ctx.Err(); err != nil {
			return Epoch{}, err
		}
		rows := r.order[s*batch : min((s+1)*batch, r.data.Rows)]
		l, c := r.tr.Step(len(rows), r.gather(r.data, rows, 0))
		loss, correct, seen = loss+l, correct+c, seen+len(rows)
		if hooks.Batch != nil {
			if err := hooks.Batch(epoch+1, s+1, steps, loss/float64(seen), float64(correct)/float64(seen)); err != nil {
				return Epoch{}, err
			}
		}
	}
	e := Epoch{Epoch: epoch + 1, Epochs: r.cfg.Epochs, Loss: loss / float64(seen), Accuracy: float64(correct) / float64(seen), HasMetric: r.data.Classes > 0 || len(r.cfg.Metrics) > 0}
	if r.val == nil {
		return e, nil
	}
	loss, correct = 0, 0
	for at := 0; at < r.val.Rows; at += batch {
		n := min(batch, r.val.Rows-at)
		l, c := r.tr.Eval(n, r.gather(r.val, nil, at))
		loss, correct = loss+l, correct+c
	}
	e.HasValidation, e.ValLoss, e.ValAccuracy = true, loss/float64(r.val.Rows), float64(correct)/float64(r.val.Rows)
	return e, ctx.Err()
}

// gather fills batches with the given rows of d, or, without rows, with those from at on.
func (r *run) gather(d *Dataset, rows []int32, at int) nn.Fill {
	return func(x, y []float32, lo, hi int) {
		out := len(y) / (hi - lo)
		for i := lo; i < hi; i++ {
			row := at + i
			if rows != nil {
				row = int(rows[i])
			}
			r.input(x[(i-lo)*r.width:(i-lo+1)*r.width], d, row)
			target(y[(i-lo)*out:(i-lo+1)*out], d, row)
		}
	}
}

func (r *run) input(dst []float32, d *Dataset, row int) {
	if d.Floats != nil {
		for j, v := range d.Floats[row*r.width : (row+1)*r.width] {
			dst[j] = v / r.scale
		}
		return
	}
	r.tr.Set().FromBytes(dst, d.Bytes[row*r.width:(row+1)*r.width], r.scale)
}

// target writes one row's target: its values, its class, or one 1 among zeros.
func target(y []float32, d *Dataset, row int) {
	switch {
	case d.Classes == 0:
		copy(y, d.Values[row*d.Outputs:(row+1)*d.Outputs])
	case len(y) == 1:
		y[0] = float32(d.Labels[row])
	default:
		clear(y)
		y[d.Labels[row]] = 1
	}
}

// Model is what is written to a Keras file: the network, how it was compiled and the optimiser's state.
func (r *Result) Model() *keras.Model {
	return &keras.Model{Network: r.Net, Optimizer: r.Opt, Loss: r.Loss.Name, FromLogits: r.Loss.FromLogits, Metrics: r.metrics}
}

// Describe names the architecture in a line, for people.
func (c Config) Describe() string {
	var parts []string
	for _, l := range c.Layers {
		parts = append(parts, l.String())
	}
	return strings.Join(parts, " → ")
}
