package train_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/train"
)

// digits is a small problem of bytes: the brightest quarter of a row is its class.
func digits(rows int, seed uint64) *train.Dataset {
	r := rand.New(rand.NewPCG(seed, 1))
	d := &train.Dataset{Rows: rows, Shape: []int{16}, Classes: 4}
	for range rows {
		c := r.IntN(4)
		for j := range 16 {
			v := r.IntN(120)
			if j/4 == c {
				v += 100
			}
			d.Bytes = append(d.Bytes, byte(v))
		}
		d.Labels = append(d.Labels, byte(c))
	}
	return d
}

func config() train.Config {
	return train.Config{
		Preprocess: train.Preprocess{Scale: 255},
		Layers: []nn.LayerSpec{
			{Type: "dense", Units: 24, Activation: "relu"}, {Type: "dropout", Rate: 0.2}, {Type: "dense", Units: 4, Activation: "softmax"},
		},
		Optimizer: nn.OptimizerConfig{Type: "adam", LearningRate: 0.01}, Loss: "categorical_crossentropy",
		Metrics: []string{"accuracy"}, Batch: 32, Epochs: 6, Seed: 3, Threads: 2,
	}
}

func weights(n *nn.Network) (all []float32) {
	for _, p := range n.Params() {
		all = append(all, p.Value...)
	}
	return all
}

func TestARunLearnsAndTellsItsEpochs(t *testing.T) {
	var told []train.Epoch
	batches := 0
	res, err := train.Run(t.Context(), config(), digits(500, 1), digits(200, 2), nil, train.Hooks{
		Epoch: func(e train.Epoch) error { told = append(told, e); return nil },
		Batch: func(_, _, _ int, _, _ float64) error { batches++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 6 || told[5] != res.Last || batches != 6*16 {
		t.Errorf("told of %d epochs and %d batches", len(told), batches)
	}
	if res.Last.ValAccuracy < 0.95 || res.Last.Loss >= told[0].Loss {
		t.Errorf("it did not learn: %+v", res.Last)
	}
}

func TestARunKilledAtAnyEpochAndResumedHasTheSameBits(t *testing.T) {
	for i, opt := range []nn.OptimizerConfig{
		{Type: "adam"}, {Type: "rmsprop", Momentum: 0.5, Centered: true}, {Type: "sgd", LearningRate: 0.05, Momentum: 0.9, Nesterov: true}, {Type: "sgd"},
	} {
		cfg := config()
		cfg.Optimizer, cfg.Threads = opt, 1+i%3
		cfg.Preprocess.Standardise = i%2 == 1
		whole, err := train.Run(t.Context(), cfg, digits(500, 1), digits(200, 2), nil, train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		for kill := 1; kill <= 6; kill++ {
			var saved bytes.Buffer
			stop := errors.New("killed")
			_, err := train.Run(t.Context(), cfg, digits(500, 1), digits(200, 2), nil, train.Hooks{
				Checkpoint: func(epoch int, write func(io.Writer) error) error {
					saved.Reset()
					return write(&saved)
				},
				// Killed in the middle of the epoch after.
				Batch: func(epoch, step, _ int, _, _ float64) error {
					if epoch == kill+1 && step == 5 {
						return stop
					}
					return nil
				},
			})
			if kill < 6 && !errors.Is(err, stop) {
				t.Fatal(err)
			}
			res, err := train.Run(t.Context(), cfg, digits(500, 1), digits(200, 2), &saved, train.Hooks{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(weights(res.Net), weights(whole.Net)) || res.Last != whole.Last {
				t.Errorf("%+v killed after epoch %d: other weights or figures", opt, kill)
			}
		}
	}
}

func TestACanceledRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := train.Run(ctx, config(), digits(500, 1), nil, nil, train.Hooks{Batch: func(_, step, _ int, _, _ float64) error {
		if step == 3 {
			cancel()
		}
		if step > 4 {
			t.Error("it went on")
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPreprocessingIsFittedOnTheTrainingPartAlone(t *testing.T) {
	d := &train.Dataset{Rows: 4, Shape: []int{1}, Floats: []float32{0, 10, 20, 30}, Values: []float32{0, 1, 2, 3}, Outputs: 1}
	far := &train.Dataset{Rows: 1, Shape: []int{1}, Floats: []float32{1000}, Values: []float32{100}, Outputs: 1}
	for _, p := range []train.Preprocess{{Standardise: true}, {Normalise: true}} {
		cfg := train.Config{
			Preprocess: p, Layers: []nn.LayerSpec{{Type: "dense", Units: 1}},
			Optimizer: nn.OptimizerConfig{Type: "sgd", LearningRate: 0.2}, Loss: "mse", Epochs: 400, Batch: 4, Threads: 1,
		}
		res, err := train.Run(t.Context(), cfg, d, far, nil, train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		// The line through the training part goes through the far point too when it was scaled by the same numbers.
		if res.Last.Loss > 1e-3 || math.Sqrt(res.Last.ValLoss) > 1 {
			t.Errorf("%+v: %+v", p, res.Last)
		}
	}
}

func TestMistakesInAConfigurationAreNamed(t *testing.T) {
	for name, change := range map[string]func(*train.Config){
		"no layers":      func(c *train.Config) { c.Layers = nil },
		"unknown layer":  func(c *train.Config) { c.Layers[0].Type = "magic" },
		"unknown loss":   func(c *train.Config) { c.Loss = "magic" },
		"bad rate":       func(c *train.Config) { c.Layers[1].Rate = 1.5 },
		"wrong outputs":  func(c *train.Config) { c.Layers[2].Units = 5 },
		"negative batch": func(c *train.Config) { c.Batch = -1 },
		"bad optimiser":  func(c *train.Config) { c.Optimizer.Type = "magic" },
		"bad metric":     func(c *train.Config) { c.Metrics = []string{"magic"} },
		"nan rate":       func(c *train.Config) { c.Optimizer.LearningRate = math.NaN() },
		"both":           func(c *train.Config) { c.Preprocess = train.Preprocess{Standardise: true, Normalise: true} },
	} {
		cfg := config()
		change(&cfg)
		if _, err := train.Run(t.Context(), cfg, digits(50, 1), nil, nil, train.Hooks{}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func checkpoint(t testing.TB) []byte {
	t.Helper()
	var saved bytes.Buffer
	cfg := config()
	cfg.Epochs = 1
	_, err := train.Run(context.Background(), cfg, digits(64, 1), nil, nil, train.Hooks{
		Checkpoint: func(_ int, write func(io.Writer) error) error { return write(&saved) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return saved.Bytes()
}

func FuzzADamagedCheckpointIsRefused(f *testing.F) {
	good := checkpoint(f)
	f.Add(good)
	for _, n := range []int{0, 5, 12, 40, len(good) / 2, len(good) - 1} {
		f.Add(good[:n])
		bad := slices.Clone(good)
		bad[n] ^= 1
		f.Add(bad)
	}
	cfg := config()
	cfg.Epochs = 1
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := train.Run(t.Context(), cfg, digits(64, 1), nil, bytes.NewReader(b), train.Hooks{})
		if len(b) >= len(good) && bytes.Equal(b[:len(good)], good) {
			if err != nil {
				t.Fatal(err)
			}
		} else if err == nil {
			t.Fatal("a damaged checkpoint was taken")
		}
	})
}

func idx(dims []int, data []byte) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = append(b, byte(d>>24), byte(d>>16), byte(d>>8), byte(d))
	}
	return append(b, data...)
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func TestIDXFilesReadPlainAndGzipped(t *testing.T) {
	plain := idx([]int{2, 3}, []byte{1, 2, 3, 4, 5, 6})
	for _, b := range [][]byte{plain, zipped(plain)} {
		dims, data, err := train.ReadIDX(bytes.NewReader(b), 100)
		if err != nil || !slices.Equal(dims, []int{2, 3}) || !bytes.Equal(data, []byte{1, 2, 3, 4, 5, 6}) {
			t.Errorf("got %v %v %v", dims, data, err)
		}
	}
	if _, _, err := train.ReadIDX(bytes.NewReader(plain), 5); !errs.Is(err, errs.TooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if _, _, err := train.ReadIDX(bytes.NewReader(append(plain, 7)), 100); err == nil {
		t.Error("a file that goes on was taken")
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(idx([]int{2, 3}, []byte{1, 2, 3, 4, 5, 6}))
	f.Add(zipped(idx([]int{2, 3}, []byte{1, 2, 3, 4, 5, 6})))
	f.Add(idx([]int{1 << 30, 1 << 30}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		dims, data, err := train.ReadIDX(bytes.NewReader(b), 1<<16)
		if err != nil {
			return
		}
		n := 1
		for _, d := range dims {
			n *= d
		}
		if n != len(data) || n > 1<<16 {
			t.Fatalf("dims %v and %d bytes", dims, len(data))
		}
	})
}
