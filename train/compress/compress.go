// Package compress makes a smaller, faster version of a network that answers almost as well, and measures both side by
// side: weights in int8 (a scale for each column) or bfloat16, weights pruned by magnitude, or whole units pruned, which
// makes layers narrower.
//
// A version that answers worse than it may is not made. Accuracy is measured on the data set's validation part, never on
// what the network learned from unless the set has nothing else, which is said.
//
//	r, err := s.Compress(ctx, "user/ann", version, set, compress.Request{To: "int8"}, false)
//
// Pruned weights alone save room in the file and no time: zeros that are scattered are multiplied as fast as they are
// skipped. Pruned units and smaller weights save both.
package compress

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/nn/kernel"
	"github.com/lineshaft/lineshaft/nn/packed"
	"github.com/lineshaft/lineshaft/train"
)

// Request says what is to become of a version. What is asked for together is done in the order of the fields.
type Request struct {
	Units    float64 `json:"units,omitempty" doc:"share of the units to take out of every dense layer but the last"`
	Sparsity float64 `json:"sparsity,omitempty" doc:"share of the weights to set to zero, the smallest"`
	To       string  `json:"to,omitempty" enum:"int8,bf16" doc:"what weights become"`
	Data     string  `json:"data,omitempty" doc:"the data set to measure on, that which the version was trained with when absent" example:"mnist"`
	Scale    float64 `json:"scale,omitempty" doc:"what inputs are divided by; as in training when absent, and 255 for images of bytes where that is not known"`
	// MaxDrop is a share of all rows where accuracy is measured, else of the mean squared error.
	MaxDrop *float64 `json:"max_drop,omitempty" doc:"how much worse the version may answer, 0.005 when absent: accuracy may fall by so much, or a mean squared error grow by that share of itself"`
}

// defaultDrop is half a point of accuracy.
const defaultDrop = 0.005

// Validate says what is wrong with a request.
func (r Request) Validate() error {
	const op = "compress.Validate"
	switch {
	case r.To == "" && r.Sparsity == 0 && r.Units == 0:
		return errs.Errorf(op, errs.Invalid, "nothing is asked for: say to (int8 or bf16), sparsity or units")
	case r.To != "" && r.To != "int8" && r.To != "bf16":
		return errs.Errorf(op, errs.Invalid, "to is %q: weights become int8 or bf16", r.To)
	case !share(r.Sparsity) || !share(r.Units):
		return errs.Errorf(op, errs.Invalid, "sparsity is %v and units %v: say a share above 0 and below 1, 0.5 for half", r.Sparsity, r.Units)
	case !(r.Scale >= 0) || r.Scale > 1e30:
		return errs.Errorf(op, errs.Invalid, "scale is %v: inputs are divided by it, so it must be above 0", r.Scale)
	case r.MaxDrop != nil && !(*r.MaxDrop >= 0 && *r.MaxDrop <= 1):
		return errs.Errorf(op, errs.Invalid, "max_drop is %v: say a share from 0 to 1, 0.005 for half a percent", *r.MaxDrop)
	}
	return nil
}

func share(v float64) bool { return v >= 0 && v < 1 }

func (r Request) maxDrop() float64 {
	if r.MaxDrop == nil {
		return defaultDrop
	}
	return *r.MaxDrop
}

// String says what is done, as lineage records it.
func (r Request) String() string {
	var parts []string
	if r.Units > 0 {
		parts = append(parts, fmt.Sprintf("%.4g %% of the units pruned", 100*r.Units))
	}
	if r.Sparsity > 0 {
		parts = append(parts, fmt.Sprintf("%.4g %% of the weights pruned", 100*r.Sparsity))
	}
	if r.To != "" {
		parts = append(parts, "weights in "+r.To)
	}
	return strings.Join(parts, ", ")
}

// apply changes a network.
func (r Request) apply(net *nn.Network) error {
	if r.Units > 0 {
		if _, err := net.PruneUnits(r.Units); err != nil {
			return err
		}
	}
	if r.Sparsity > 0 {
		if err := net.Prune(r.Sparsity); err != nil {
			return err
		}
	}
	switch r.To {
	case "int8":
		return net.Shrink(nn.Int8)
	case "bf16":
		return net.Shrink(nn.BFloat16)
	}
	return nil
}

// Figures are what was measured of one version.
type Figures struct {
	Quality     float64 `json:"quality"`
	FileBytes   int64   `json:"file_bytes"` // in format lineshaft-nn, without an optimiser's state
	MemoryBytes int64   `json:"memory_bytes"`
	Row1        float64 `json:"row_1_us"`  // µs to answer one row asked alone, on one core
	Row32       float64 `json:"row_32_us"` // µs a row of 32 asked together
}

// Report is both versions side by side.
type Report struct {
	Change string `json:"change"`
	Data   string `json:"data"`
	Part   string `json:"part"` // validation, or all where the data set has no such part
	train.Quality
	Scale   float64 `json:"scale"`
	Kernels string  `json:"kernels"` // the processor's instructions that were used
	Before  Figures `json:"before"`
	After   Figures `json:"after"`
	Drop    float64 `json:"drop"`
	MaxDrop float64 `json:"max_drop"`
}

// Result is the version that was made, or would be, and its report.
type Result struct {
	Version model.Version `json:"version"`
	Report  Report        `json:"report"`
}

// Models is the registry: *model.Registry.
type Models interface {
	Open(ctx context.Context, v model.Version) (artifact.ReaderAt, error)
	Add(ctx context.Context, actor string, v model.Version, info artifact.Info) (model.Version, error)
}

// Blobs keeps sealed bytes: *blob.Store.
type Blobs interface {
	Put(ctx context.Context, r io.Reader, limit int64) (artifact.Info, error)
	OpenAt(ctx context.Context, info artifact.Info) (artifact.ReaderAt, error)
}

// Service makes versions, one at a time, so that measuring takes no more than one core of those that serve.
type Service struct {
	models Models
	blobs  Blobs
	clock  clock.Clock
	turn   chan struct{}
}

// New makes a service.
func New(models Models, blobs Blobs, c clock.Clock) *Service {
	return &Service{models: models, blobs: blobs, clock: c, turn: make(chan struct{}, 1)}
}

const (
	maxModel = 1 << 30 // bytes of a version, which is held a few times while it is changed
	maxSet   = 1 << 30 // bytes of a data set
	maxRows  = 20_000  // that are measured on
)

// Compress makes a version of v, measures both on a data set, and registers the new one unless it answers too much worse
// (errs.Conflict), or dryRun. Who may do so is decided before it is called.
func (s *Service) Compress(ctx context.Context, actor string, v model.Version, set data.Set, req Request, dryRun bool) (Result, error) {
	const op = "compress.Compress"
	if err := req.Validate(); err != nil {
		return Result{}, err
	}
	if v.Size > maxModel || set.Size > maxSet {
		return Result{}, errs.Errorf(op, errs.TooLarge, "version %s:%d has %d MiB and data set %s %d MiB: the server measures up to %d MiB of each; name a smaller set", v.Model, v.Version, v.Size>>20, set.Ref(), set.Size>>20, maxModel>>20)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return Result{}, errs.E(op, errs.KindOf(ctx.Err()), ctx.Err())
	}
	before, cfg, err := s.read(ctx, v)
	if err != nil {
		return Result{}, err
	}
	after, _, err := s.read(ctx, v)
	if err == nil {
		err = req.apply(after)
	}
	if err != nil {
		return Result{}, err
	}
	report, err := s.compare(ctx, before, after, set, cfg, req)
	if err != nil {
		return Result{}, err
	}
	if !(report.Drop <= report.MaxDrop) {
		return Result{}, report.refusal(v)
	}
	made := version(v, set, req, report)
	if !dryRun {
		made, err = s.register(ctx, actor, made, after)
	}
	return Result{Version: made, Report: report}, err
}

// refusal says by how much the new version is worse.
func (r Report) refusal(v model.Version) error {
	return errs.Errorf("compress.Compress", errs.Conflict,
		"%s:%d with %s answers too much worse: %s %.4f before and %.4f after on %d rows of %s, a drop of %.3f %% where %.3f %% is allowed; ask for less, or allow more with max_drop",
		v.Model, v.Version, r.Change, r.Metric, r.Before.Quality, r.After.Quality, r.Rows, r.Data, 100*r.Drop, 100*r.MaxDrop)
}

// version describes what will be registered.
func version(v model.Version, set data.Set, req Request, r Report) model.Version {
	metric := "val_" + r.Metric
	return model.Version{
		Model: v.Model, Format: model.Packed, Source: fmt.Sprintf("model/%s:%d", v.Model, v.Version),
		Metrics: map[string]float64{
			metric: r.After.Quality, metric + "_before": r.Before.Quality,
			"row_1_us": r.After.Row1, "row_1_us_before": r.Before.Row1, "row_32_us": r.After.Row32, "row_32_us_before": r.Before.Row32,
		},
		Lineage: model.Lineage{
			Spec: v.Lineage.Spec, Data: v.Lineage.Data,
			From:   fmt.Sprintf("%s:%d %s", v.Model, v.Version, v.Digest),
			Change: req.String() + ", measured on " + set.String(),
		},
	}
}

func (s *Service) register(ctx context.Context, actor string, v model.Version, net *nn.Network) (model.Version, error) {
	var b bytes.Buffer
	if err := packed.Write(&b, net); err != nil {
		return model.Version{}, err
	}
	info, err := s.blobs.Put(ctx, &b, int64(b.Len()))
	if err != nil {
		return model.Version{}, errs.E("compress.Compress", errs.Other, err)
	}
	return s.models.Add(ctx, actor, v, info)
}

// read reads a version and how it was trained, as far as that is known.
func (s *Service) read(ctx context.Context, v model.Version) (*nn.Network, train.Config, error) {
	var cfg train.Config
	at, err := s.models.Open(ctx, v)
	if err != nil {
		return nil, cfg, err
	}
	defer at.Close()
	var spec struct {
		Train train.Config `json:"train"`
	}
	if len(v.Lineage.Spec) > 0 && json.Unmarshal(v.Lineage.Spec, &spec) == nil {
		cfg = spec.Train
	}
	if packed.Is(at) {
		net, err := packed.Read(at, v.Size)
		return net, cfg, err
	}
	if v.Format != model.KerasH5 && v.Format != model.KerasZip {
		return nil, cfg, errs.Errorf("compress.read", errs.Unsupported, "%s:%d is kept as %s: only Keras models and those made of them can be compressed", v.Model, v.Version, v.Format)
	}
	m, err := keras.ReadModel(at, v.Size)
	if err != nil {
		return nil, cfg, err
	}
	if cfg.Loss == "" {
		cfg.Loss, cfg.FromLogits = m.Loss, m.FromLogits
	}
	return m.Network, cfg, nil
}

// load reads the part of a data set that versions are measured on.
func (s *Service) load(ctx context.Context, set data.Set, cfg train.Config) (d *train.Dataset, part string, err error) {
	var files []train.File
	for _, f := range set.Files {
		at, err := s.blobs.OpenAt(ctx, f.Artifact())
		if err != nil {
			return nil, "", err
		}
		defer at.Close()
		files = append(files, train.File{Name: f.Name, Reader: io.NewSectionReader(at, 0, f.Size)})
	}
	all, val, err := train.Load(cfg, set.Format, files)
	if err != nil || val != nil {
		return val, "validation", err
	}
	return all, "all", nil
}

// compare measures both networks.
func (s *Service) compare(ctx context.Context, before, after *nn.Network, set data.Set, cfg train.Config, req Request) (Report, error) {
	d, part, err := s.load(ctx, set, cfg)
	if err != nil {
		return Report{}, err
	}
	if req.Scale > 0 {
		cfg.Preprocess.Scale = req.Scale
	} else if cfg.Preprocess.Scale == 0 && d.Bytes != nil && len(cfg.Layers) == 0 {
		cfg.Preprocess.Scale = 255
	}
	r := Report{
		Change: req.String(), Data: set.Ref(), Part: part, Scale: cmp.Or(cfg.Preprocess.Scale, 1), Kernels: kernel.Best().Name,
		MaxDrop: req.maxDrop(),
	}
	for _, side := range []struct {
		net *nn.Network
		f   *Figures
	}{{before, &r.Before}, {after, &r.After}} {
		size := &counter{}
		if err := packed.Write(size, side.net); err != nil {
			return Report{}, err
		}
		if r.Quality, err = train.Measure(ctx, side.net, d, cfg, maxRows); err != nil {
			return Report{}, err
		}
		side.f.Quality, side.f.FileBytes = r.Value, size.n
	}
	r.Drop = drop(r.Metric, r.Before.Quality, r.After.Quality)
	return r, s.time(ctx, before, after, train.Inputs(d, cfg.Preprocess, 0, min(d.Rows, 256)), &r)
}

// drop is by how much the second is worse: of accuracy as a difference, of an error as a share of it.
func drop(metric string, before, after float64) float64 {
	if metric == train.Accuracy {
		return before - after
	}
	if before == 0 && after == 0 {
		return 0
	}
	return after/before - 1
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
