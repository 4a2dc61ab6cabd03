package compress_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/nn/packed"
	"github.com/lineshaft/lineshaft/train"
	"github.com/lineshaft/lineshaft/train/compress"
)

// pictures are n pictures of 8×8, of four kinds: a quarter of each is bright, the rest is noise.
func pictures(n int, seed uint64) (images, labels []byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range n {
		kind := r.IntN(4)
		labels = append(labels, byte(kind))
		for i := range 64 {
			v := r.IntN(120)
			if (i/8)/4*2+(i%8)/4 == kind {
				v += r.IntN(130)
			}
			images = append(images, byte(v))
		}
	}
	return images, labels
}

func idx(body []byte, dims ...int) []byte {
	out := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		out = binary.BigEndian.AppendUint32(out, uint32(d))
	}
	return append(out, body...)
}

func files() map[string][]byte {
	a, al := pictures(600, 1)
	b, bl := pictures(400, 2)
	return map[string][]byte{
		"train-images-idx3-ubyte": idx(a, 600, 8, 8), "train-labels-idx1-ubyte": idx(al, 600),
		"t10k-images-idx3-ubyte": idx(b, 400, 8, 8), "t10k-labels-idx1-ubyte": idx(bl, 400),
	}
}

func config() train.Config {
	return train.Config{
		Preprocess: train.Preprocess{Scale: 255},
		Layers: []nn.LayerSpec{
			{Type: "dense", Units: 48, Activation: "relu"},
			{Type: "dropout", Rate: 0.1},
			{Type: "dense", Units: 32, Activation: "relu"},
			{Type: "dense", Units: 4, Activation: "softmax"},
		},
		Optimizer: nn.OptimizerConfig{Type: "adam", LearningRate: 0.003}, Loss: "categorical_crossentropy", Metrics: []string{"accuracy"},
		Batch: 32, Epochs: 4, Seed: 1,
	}
}

type hall struct {
	*testkit.Hall
	models  *model.Registry
	set     data.Set
	version model.Version
	service *compress.Service
}

// newHall has a data set and a model that was trained with it.
func newHall(t *testing.T) *hall {
	t.Helper()
	h := &hall{Hall: testkit.NewHall(t)}
	h.models = &model.Registry{Store: h.Store, Blobs: h.Blobs, Clock: h.Clock, Limit: 1 << 20}
	h.service = compress.New(h.models, h.Blobs, clock.System{})
	sets := &data.Sets{Store: h.Store, Blobs: h.Blobs, Clock: h.Clock, Limit: 1 << 20}
	var stream bytes.Buffer
	var parts []train.File
	w := tar.NewWriter(&stream)
	for name, body := range files() {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, train.File{Name: name, Reader: bytes.NewReader(body)})
	}
	w.Close()
	var err error
	if h.set, err = sets.Import(t.Context(), "user/ann", "ann", "pictures", &stream); err != nil {
		t.Fatal(err)
	}
	d, val, err := train.Load(config(), train.FormatIDX, parts)
	if err != nil {
		t.Fatal(err)
	}
	res, err := train.Run(t.Context(), config(), d, val, nil, train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if res.Last.ValAccuracy < 0.95 {
		t.Fatalf("the network learned only to %v", res.Last.ValAccuracy)
	}
	var file bytes.Buffer
	if err := keras.WriteH5(&file, res.Model()); err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(map[string]any{"train": config()})
	if err != nil {
		t.Fatal(err)
	}
	h.version = h.add(t, &file, model.Version{
		Model: "kinds", Format: model.KerasH5, Source: "job/1", Lineage: model.Lineage{Job: 1, Spec: spec, Data: []string{h.set.String()}},
	})
	return h
}

func (h *hall) add(t *testing.T, file io.Reader, v model.Version) model.Version {
	t.Helper()
	info, err := h.Blobs.Put(t.Context(), file, 1<<20)
	if err == nil {
		v, err = h.models.Add(t.Context(), "user/ann", v, info)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (h *hall) read(t *testing.T, v model.Version) *nn.Network {
	t.Helper()
	at, err := h.models.Open(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	net, err := packed.Read(at, v.Size)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func TestASmallerVersionIsMeasuredAndRegisteredWithItsLineage(t *testing.T) {
	h := newHall(t)
	r, err := h.service.Compress(t.Context(), "user/bob", h.version, h.set, compress.Request{To: "int8"}, false)
	if err != nil {
		t.Fatal(err)
	}
	v, p := r.Version, r.Report
	if v.Version != 2 || v.Format != model.Packed || v.Source != "model/kinds:1" || v.Creator != "user/bob" ||
		v.Lineage.From != "kinds:1 "+h.version.Digest || !strings.HasPrefix(v.Lineage.Change, "weights in int8, measured on pictures@1 sha256:") || len(v.Lineage.Data) != 1 {
		t.Errorf("version %+v", v)
	}
	if p.Metric != train.Accuracy || p.Rows != 400 || p.Part != "validation" || p.Scale != 255 || p.Before.Quality < 0.95 || p.After.Quality < p.Before.Quality-0.005 {
		t.Errorf("report %+v", p)
	}
	if 2*p.After.FileBytes > p.Before.FileBytes || p.After.MemoryBytes >= p.Before.MemoryBytes || !(p.After.Row1 > 0) || !(p.Before.Row32 > 0) {
		t.Errorf("figures %+v, %+v", p.Before, p.After)
	}
	if v.Metrics["val_accuracy"] != p.After.Quality || v.Metrics["val_accuracy_before"] != p.Before.Quality {
		t.Errorf("metrics %v", v.Metrics)
	}
	if d := h.read(t, v).Layers[0].(*nn.Dense); d.Form() != nn.Int8 {
		t.Errorf("weights are of form %d", d.Form())
	}
	// What was made can be made smaller again.
	again, err := h.service.Compress(t.Context(), "user/bob", v, h.set, compress.Request{To: "int8"}, true)
	if err != nil || again.Report.Before.Quality != again.Report.After.Quality || again.Version.Version != 0 {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestAVersionThatAnswersTooMuchWorseIsNotMade(t *testing.T) {
	h := newHall(t)
	for _, r := range []compress.Request{{Units: 0.95}, {Sparsity: 0.98}} {
		_, err := h.service.Compress(t.Context(), "user/bob", h.version, h.set, r, false)
		if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "a drop of") {
			t.Errorf("%s: %v", r, err)
		}
	}
	if m, err := h.models.Model(t.Context(), "kinds"); err != nil || m.Versions != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if n := len(h.Sealed(t)); n != 5 {
		t.Errorf("%d sealed files are there instead of the set's four and the model's", n)
	}
	all := 1.0
	r, err := h.service.Compress(t.Context(), "user/bob", h.version, h.set, compress.Request{Units: 0.5, Sparsity: 0.3, To: "bf16", MaxDrop: &all}, false)
	if err != nil || r.Version.Version != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	net := h.read(t, r.Version)
	if a, b := net.Layers[0].(*nn.Dense), net.Layers[2].(*nn.Dense); a.Units != 24 || b.Units != 16 || a.Form() != nn.BFloat16 || net.OutputShape()[0] != 4 {
		t.Errorf("%d and %d units", a.Units, b.Units)
	}
}

func TestARequestThatMakesNoSenseIsRefused(t *testing.T) {
	h := newHall(t)
	drop := -1.0
	for says, r := range map[string]compress.Request{
		"nothing is asked for": {}, "int8 or bf16": {To: "int4"}, "a share above 0": {Sparsity: 1}, "scale is": {To: "int8", Scale: -1}, "max_drop is": {To: "int8", MaxDrop: &drop},
	} {
		if _, err := h.service.Compress(t.Context(), "user/bob", h.version, h.set, r, false); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	other := h.set
	other.Files = other.Files[:1]
	if _, err := h.service.Compress(t.Context(), "user/bob", h.version, other, compress.Request{To: "int8"}, false); !errs.Is(err, errs.Invalid) {
		t.Errorf("half a data set: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.service.Compress(gone, "user/bob", h.version, h.set, compress.Request{To: "int8"}, false); !errs.Is(err, errs.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
	big := h.version
	big.Size = 2 << 30
	if _, err := h.service.Compress(t.Context(), "user/bob", big, h.set, compress.Request{To: "int8"}, false); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a large model: %v", err)
	}
}
