package runtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// network asks a servable as its lease does.
type network struct{ serve.Servable }

func (n network) Predict(ctx context.Context, dst, x []float32, rows int) error {
	in := n.Signature().Inputs[0].RowSize()
	c := serve.Call{In: []tensor.Tensor{tensor.Float32s(x, rows, in)}}
	if err := n.Signature().Check(&c); err != nil {
		return err
	}
	if err := n.Run(ctx, &c); err != nil {
		return err
	}
	copy(dst, c.Out[0].Float32s())
	return nil
}

func load(t testing.TB, o runtime.Options, name string) network {
	t.Helper()
	b, err := os.ReadFile("../../nn/keras/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.New(o).Load(context.Background(), "", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return network{s}
}

type reference struct{ Inputs, Outputs [][]float32 }

func read(t testing.TB, name string) (r reference) {
	t.Helper()
	b, err := os.ReadFile("../../nn/keras/testdata/" + name)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func far(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

func TestTheSignatureIsThatOfTheFile(t *testing.T) {
	s := load(t, runtime.Options{}, "regression.h5")
	sig := s.Signature()
	if sig.Inputs[0].RowSize() != 12 || sig.Outputs[0].RowSize() != 1 || sig.Inputs[0].Name == "" || sig.Outputs[0].Name == "" || s.MemoryBytes() <= 0 {
		t.Errorf("%+v, %d bytes", sig, s.MemoryBytes())
	}
}

// TestJoinedRequestsGetTheirOwnAnswers asks from many goroutines with one worker, so that requests wait and are joined.
func TestJoinedRequestsGetTheirOwnAnswers(t *testing.T) {
	for _, o := range []runtime.Options{{Workers: 1}, {Workers: 1, Batch: 3}, {Workers: 2, Batch: 48}, {}} {
		s := load(t, o, "keras3.h5")
		ref := read(t, "keras3.json")
		in, out := s.Signature().Inputs[0].RowSize(), s.Signature().Outputs[0].RowSize()
		var clients sync.WaitGroup
		for c := range 16 {
			rng := rand.New(rand.NewPCG(1, uint64(c)))
			clients.Go(func() {
				for range 200 {
					rows := 1 + rng.IntN(7)
					var x, want []float32
					for range rows {
						i := rng.IntN(len(ref.Inputs))
						x, want = append(x, ref.Inputs[i]...), append(want, ref.Outputs[i]...)
					}
					got := make([]float32, rows*out)
					if err := s.Predict(context.Background(), got, x[:rows*in], rows); err != nil || far(got, want) > 1e-5 {
						t.Errorf("%+v: %v, off by %v", o, err, far(got, want))
					}
				}
			})
		}
		clients.Wait()
	}
}

func TestMoreRowsThanABatchAreAnsweredInPieces(t *testing.T) {
	s := load(t, runtime.Options{Batch: 4}, "regression.h5")
	ref := read(t, "regression.json")
	var x, want []float32
	for i := range 101 {
		x, want = append(x, ref.Inputs[i%5]...), append(want, ref.Outputs[i%5]...)
	}
	got := make([]float32, 101)
	if err := s.Predict(context.Background(), got, x, 101); err != nil || far(got, want) > 1e-5 {
		t.Errorf("%v, off by %v", err, far(got, want))
	}
	if err := s.Predict(context.Background(), got, x[:1200-1], 100); !errs.Is(err, errs.Invalid) {
		t.Errorf("sizes that do not fit: %v", err)
	}
}

func TestACanceledRequestIsNotAnsweredAndDisturbsNoOther(t *testing.T) {
	s := load(t, runtime.Options{Workers: 1}, "keras3.h5")
	ref := read(t, "keras3.json")
	out := s.Signature().Outputs[0].RowSize()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Predict(gone, make([]float32, out), ref.Inputs[0], 1); !errs.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				if c%2 == 0 {
					go cancel()
				}
				got := make([]float32, out)
				err := s.Predict(ctx, got, ref.Inputs[c%4], 1)
				cancel()
				switch {
				case err != nil && (c%2 != 0 || !errs.Is(err, errs.Canceled)):
					t.Error(err)
				case err == nil && far(got, ref.Outputs[c%4]) > 1e-5:
					t.Errorf("off by %v", far(got, ref.Outputs[c%4]))
				}
			}
		})
	}
	clients.Wait()
}

// faulty fails in the middle of computing.
type faulty struct{ *nn.Activation }

func (faulty) Forward(_ *nn.Context, _, x []float32, _ int) {
	if x[0] < 0 {
		panic("a hole in the kernel")
	}
}

func TestAFaultWhileComputingIsAnErrorAndTheNextRequestIsAnswered(t *testing.T) {
	net := &nn.Network{Input: []int{1}, Layers: []nn.Layer{faulty{nn.NewActivation("a", "linear")}}}
	if err := net.Build(1); err != nil {
		t.Fatal(err)
	}
	b, err := runtime.New(runtime.Options{Workers: 1}).Serve(net)
	if err != nil {
		t.Fatal(err)
	}
	s := network{b}
	for range 3 {
		if err := s.Predict(context.Background(), make([]float32, 1), []float32{-1}, 1); err == nil {
			t.Error("a fault was taken for an answer")
		}
		if err := s.Predict(context.Background(), make([]float32, 1), []float32{1}, 1); err != nil {
			t.Error(err)
		}
	}
}

func TestAFileThatIsNoModelIsRefused(t *testing.T) {
	for _, text := range []string{"", "x", "PK\x03\x04", "\x89HDF\r\n\x1a\n"} {
		if err := runtime.Check("", bytes.NewReader([]byte(text)), int64(len(text))); err == nil {
			t.Errorf("%q is taken for a model", text)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	b := make([]byte, 1000)
	if _, err := runtime.New(runtime.Options{}).Load(gone, "", bytes.NewReader(b), 1000); !errs.Is(err, errs.Canceled) {
		t.Errorf("a load that was canceled: %v", err)
	}
}
