package drift_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/drift"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// draw is n rows of pictures of 64 numbers and answers for 4 classes.
func draw(rng *rand.Rand, n int, pixel func() float32, class func() int) (in, out []tensor.Tensor) {
	x, y := make([]float32, n*64), make([]float32, n*4)
	for i := range x {
		x[i] = pixel()
	}
	for i := range n {
		y[i*4+class()] = 0.7 + 0.3*rng.Float32()
	}
	return []tensor.Tensor{tensor.Float32s(x, n, 64)}, []tensor.Tensor{tensor.Float32s(y, n, 4)}
}

// look watches n rows, one a request, and reports.
func look(ref *drift.Reference, in, out []tensor.Tensor) drift.Report {
	w := drift.NewWatch(ref, []string{"x"}, []string{"y"})
	n := in[0].Shape[0]
	now := begin
	x, y := in[0].Float32s(), out[0].Float32s()
	for i := range n {
		now = now.Add(time.Second / 10)
		w.Add(now, []tensor.Tensor{tensor.Float32s(x[i*64:(i+1)*64], 1, 64)}, []tensor.Tensor{tensor.Float32s(y[i*4:(i+1)*4], 1, 4)}, 1)
	}
	return *w.Report(now)
}

func TestWhatHasDriftedIsFoundAndNamedAndWhatHasNotIsLeftAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pixel := func() float32 { return max(0, float32(rng.NormFloat64())) }
	class := func() int { return rng.IntN(4) }
	in, out := draw(rng, 3000, pixel, class)
	ref, err := drift.Measure("training", in, out, []string{"x"}, []string{"y"}, 3000)
	if err != nil {
		t.Fatal(err)
	}
	alarms := 0
	for range 100 {
		in, out := draw(rng, 250, pixel, class)
		if r := look(ref, in, out); r.State != drift.Stable {
			alarms++
		}
	}
	if alarms > 2 {
		t.Errorf("%d of 100 looks at the same distribution raise an alarm", alarms)
	}
	for _, c := range []struct {
		name, worst string
		pixel       func() float32
		class       func() int
		state       drift.State
	}{
		{"inputs not divided by 255", "x ", func() float32 { return 255 * pixel() }, class, drift.Drifted},
		{"noise", "x ", func() float32 { return pixel() + 0.5*rng.Float32() }, class, drift.Drifted},
		{"a blank", "x ", func() float32 { return 0 }, class, drift.Drifted},
		{"not a number", "x ", func() float32 { return float32(math.NaN()) }, class, drift.Drifted},
		{"one class more than half of the time", "y largest", pixel, func() int { return max(0, rng.IntN(8)-4) }, drift.Drifted},
		{"one class somewhat more", "y largest", pixel, func() int { return max(0, rng.IntN(6)-2) }, drift.Some},
	} {
		in, out := draw(rng, 1000, c.pixel, c.class)
		r := look(ref, in, out)
		if r.State != c.state || !strings.HasPrefix(r.Worst[0].Name, c.worst) {
			t.Errorf("%s: %s, %+v", c.name, r.State, r.Worst[0])
		}
		for _, s := range r.Worst {
			if math.IsNaN(s.PSI) || math.IsInf(s.PSI, 0) || s.KS < 0 || s.KS > 1.0001 {
				t.Errorf("%s: %+v", c.name, s)
			}
		}
	}
}

func TestFewRowsSayNothingAndOldOnesAreForgotten(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	in, out := draw(rng, 500, rng.Float32, func() int { return 1 })
	ref, err := drift.Measure("training", in, out, nil, nil, 500)
	if err != nil {
		t.Fatal(err)
	}
	w := drift.NewWatch(ref, nil, nil)
	for i := range 300 {
		in, out := draw(rng, 8, rng.Float32, func() int { return 1 })
		w.Add(begin.Add(time.Duration(i)*time.Second), in, out, 8)
	}
	if r := w.Report(begin.Add(time.Minute)); r.Rows != 1200 || r.State != drift.Stable || r.Outputs.Name != "1 largest" {
		t.Errorf("%+v", r)
	}
	if r := w.Report(begin.Add(3 * time.Hour)); r.Rows != 0 || r.State != drift.TooFew {
		t.Errorf("%+v", r)
	}
	w.Add(begin, in, out, 500) // a moment before the next is due costs nothing and counts nothing
	if r := w.Report(begin.Add(3 * time.Hour)); r.Rows != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAReferenceIsTakenFromRequestsWhereTrainingLeftNone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := drift.NewWatch(nil, nil, nil)
	if w.Report(begin) != nil {
		t.Error("a report without a reference")
	}
	if _, err := w.Take(); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
	now := begin
	ask := func(n int, add float32) {
		for range n {
			in, out := draw(rng, 4, func() float32 { return rng.Float32() + add }, func() int { return rng.IntN(4) })
			now = now.Add(time.Second)
			w.Add(now, in, out, 4)
		}
	}
	ask(2000, 0)
	ref, err := w.Take()
	if err != nil || ref.Rows < 2500 || ref.Rows > 5000 || ref.Source != "requests" {
		t.Fatalf("%v, %+v", err, ref)
	}
	ask(100, 0)
	if r := w.Report(now); r.State != drift.Stable {
		t.Errorf("%+v", r)
	}
	ask(3000, 3)
	if r := w.Report(now); r.State != drift.Drifted {
		t.Errorf("%+v", r)
	}
	if _, err := w.Take(); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
}

func TestTensorsOfOtherShapesAndOfStringsDoNotHurt(t *testing.T) {
	one := []tensor.Tensor{tensor.Float32s([]float32{1, 2}, 2)}
	words := []tensor.Tensor{{Type: tensor.Bytes, Shape: []int{2}, Strings: [][]byte{[]byte("a"), []byte("bcd")}}}
	ref, err := drift.Measure("training", words, one, []string{"text"}, []string{"score"}, 2)
	if err != nil || ref.Inputs[0].Name != "text length" || ref.Outputs[0].Name != "score" {
		t.Fatalf("%+v, %v", ref, err)
	}
	w := drift.NewWatch(ref, nil, nil)
	empty := []tensor.Tensor{tensor.Float32s(nil, 0, 3)}
	for i, in := range [][]tensor.Tensor{words, one, empty, nil, {tensor.Float32s(make([]float32, 300), 2, 150)}} {
		w.Add(begin.Add(time.Duration(i)*time.Second), in, one, 2)
		w.Add(begin.Add(time.Duration(i)*time.Second+time.Second/2), in, nil, 0)
	}
	if r := w.Report(begin); r.Rows == 0 {
		t.Errorf("%+v", r)
	}
	if _, err := drift.Measure("training", empty, one, nil, nil, 0); err == nil {
		t.Error("a reference of nothing")
	}
}

func BenchmarkARequestThatIsNotLookedAt(b *testing.B) {
	w := drift.NewWatch(nil, nil, nil)
	in := []tensor.Tensor{tensor.Float32s(make([]float32, 784), 1, 784)}
	out := []tensor.Tensor{tensor.Float32s(make([]float32, 10), 1, 10)}
	w.Add(begin, in, out, 1)
	for b.Loop() {
		w.Add(begin, in, out, 1)
	}
}

func BenchmarkARequestThatIsLookedAt(b *testing.B) {
	w := drift.NewWatch(nil, nil, nil)
	in := []tensor.Tensor{tensor.Float32s(make([]float32, 784), 1, 784)}
	out := []tensor.Tensor{tensor.Float32s(make([]float32, 10), 1, 10)}
	now := begin
	for b.Loop() {
		now = now.Add(time.Second)
		w.Add(now, in, out, 1)
	}
}
