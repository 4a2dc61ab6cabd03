package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// doubling doubles every element. What it was given is written down.
type doubling struct {
	sig      serve.Signature
	parallel int
	gate     chan struct{} // where set, every batch waits for a value
	began    chan int      // where set, gets the rows of every batch when it begins

	mu    sync.Mutex
	given []int // rows of each batch
	now   atomic.Int64
	over  atomic.Bool
}

func floats(name string, shape ...int) tensor.Spec {
	return tensor.Spec{Name: name, Type: tensor.Float32, Shape: append([]int{tensor.Any}, shape...)}
}

func newDoubling(shape ...int) *doubling {
	return &doubling{parallel: 1, sig: serve.Signature{Inputs: []tensor.Spec{floats("x", shape...)}, Outputs: []tensor.Spec{floats("y", shape...)}, Batched: true}}
}

func (d *doubling) Signature() serve.Signature { return d.sig }
func (d *doubling) Parallel() int              { return d.parallel }
func (d *doubling) MemoryBytes() int64         { return 1 }
func (d *doubling) Close()                     {}

func (d *doubling) Run(_ context.Context, in, out []tensor.Tensor, rows int) error {
	if d.now.Add(1) > int64(d.parallel) {
		d.over.Store(true)
	}
	defer d.now.Add(-1)
	if d.began != nil {
		d.began <- rows
	}
	if d.gate != nil {
		<-d.gate
		d.mu.Lock()
		d.given = append(d.given, rows)
		d.mu.Unlock()
	}
	out[0].Reset(tensor.Float32, in[0].Shape...)
	for i, v := range in[0].Float32s() {
		if v == 666 {
			panic("a hole in the kernel")
		}
		out[0].Float32s()[i] = 2 * v
	}
	return nil
}

func start(t testing.TB, m batch.Model, o batch.Options) *batch.Batcher {
	t.Helper()
	b, err := batch.New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask sends rows of one number each and gives what came back.
func ask(ctx context.Context, b *batch.Batcher, priority int, x ...float32) ([]float32, error) {
	return send(ctx, b, priority, tensor.Float32s(x, len(x), 1))
}

func send(ctx context.Context, b *batch.Batcher, priority int, x tensor.Tensor) ([]float32, error) {
	c := serve.Call{In: []tensor.Tensor{x}, Priority: priority}
	sig := b.Signature()
	if err := sig.Check(&c); err != nil {
		return nil, err
	}
	if err := b.Run(ctx, &c); err != nil {
		return nil, err
	}
	return slices.Clone(c.Out[0].Float32s()), nil
}

// until waits for what other goroutines do.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 5000 {
		if is() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it never came to " + what)
}

func waiting(b *batch.Batcher, n int) func() bool {
	return func() bool { return b.Queue().Waiting == n }
}

func TestManyClientsGetTheirOwnRows(t *testing.T) {
	cores := batch.NewCores(2)
	for _, o := range []batch.Options{{}, {MaxRows: 3}, {Cores: cores}, {Cores: cores, Batching: serve.Batching{Sizes: []int{2, 8}}}, {Batching: serve.Batching{Preferred: []int{4}}}} {
		d := newDoubling(1)
		d.parallel = 2
		b := start(t, d, o)
		var clients sync.WaitGroup
		for c := range 16 {
			rng := rand.New(rand.NewPCG(1, uint64(c)))
			clients.Go(func() {
				for range 300 {
					x := make([]float32, 1+rng.IntN(11))
					for i := range x {
						x[i] = float32(rng.IntN(1000000) + 1000)
					}
					y, err := ask(context.Background(), b, rng.IntN(3), x...)
					if err != nil {
						t.Errorf("%+v: %v", o, err)
						return
					}
					for i := range x {
						if y[i] != 2*x[i] {
							t.Errorf("%+v: %v is answered with %v", o, x, y)
							return
						}
					}
				}
			})
		}
		clients.Wait()
		if q := b.Queue(); q.Waiting != 0 || q.Running != 0 || d.over.Load() {
			t.Errorf("%+v: %+v, more than %d at once: %v", o, q, d.parallel, d.over.Load())
		}
	}
}

func TestWhatWaitsIsJoinedAndAHigherPriorityGoesFirst(t *testing.T) {
	d := newDoubling(1)
	d.gate, d.began = make(chan struct{}), make(chan int, 10)
	b := start(t, d, batch.Options{MaxRows: 4})
	var all sync.WaitGroup
	var mu sync.Mutex
	var order []string
	one := func(name string, priority int, rows int) {
		n := b.Queue().Waiting
		all.Go(func() {
			if _, err := ask(context.Background(), b, priority, make([]float32, rows)...); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
		})
		if name != "first" {
			until(t, name+" waiting", waiting(b, n+1))
		}
	}
	one("first", 0, 1)
	<-d.began
	one("low", 0, 3)
	one("high", 5, 3)
	one("low too", 0, 1)
	one("high too", 5, 1)
	for _, want := range []struct {
		rows  int
		names []string
	}{{1, []string{"first"}}, {4, []string{"high", "high too"}}, {4, []string{"low", "low too"}}} {
		d.gate <- struct{}{}
		until(t, "answers", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == len(want.names) })
		mu.Lock()
		slices.Sort(order)
		if !slices.Equal(order, want.names) {
			t.Errorf("%v are answered, not %v", order, want.names)
		}
		order = nil
		mu.Unlock()
	}
	all.Wait()
	if !slices.Equal(d.given, []int{1, 4, 4}) {
		t.Errorf("batches of %v", d.given)
	}
	if q := b.Queue(); q.Batches != 3 || q.Rows != 9 || fmt.Sprint(q.Sizes) != "[1 0 2]" || q.Waits.N != 5 {
		t.Errorf("%+v", q)
	}
}

func TestARequestWhoseClientLeftIsNotComputed(t *testing.T) {
	d := newDoubling(1)
	d.gate, d.began = make(chan struct{}), make(chan int, 10)
	b := start(t, d, batch.Options{})
	var all sync.WaitGroup
	all.Go(func() { _, _ = ask(context.Background(), b, 0, 1) })
	<-d.began
	ctx, cancel := context.WithCancel(context.Background())
	for range 3 {
		all.Go(func() {
			if _, err := ask(ctx, b, 0, 2); !errs.Is(err, errs.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
	until(t, "three waiting", waiting(b, 3))
	cancel()
	until(t, "none waiting", waiting(b, 0))
	d.gate <- struct{}{}
	all.Wait()
	if _, err := ask(ctx, b, 0, 2); !errs.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
	if q := b.Queue(); q.Batches != 1 || q.Left != 3 {
		t.Errorf("%+v", q)
	}
}

func TestAFullQueueRefusesAndMakesRoomForAHigherPriority(t *testing.T) {
	d := newDoubling(1)
	d.gate, d.began = make(chan struct{}), make(chan int, 10)
	b := start(t, d, batch.Options{Batching: serve.Batching{MaxQueue: 2}})
	var all sync.WaitGroup
	faults := make([]error, 4)
	one := func(i, priority int) {
		all.Go(func() { _, faults[i] = ask(context.Background(), b, priority, 1) })
	}
	one(0, 0)
	<-d.began
	one(1, 0)
	until(t, "one waiting", waiting(b, 1))
	one(2, 0)
	until(t, "two waiting", waiting(b, 2))
	_, err := ask(context.Background(), b, 0, 1)
	if _, ok := errs.Retry(err); !ok || !errs.Is(err, errs.Unavailable) {
		t.Errorf("%v", err)
	}
	one(3, 1)
	until(t, "one more refused", func() bool { return b.Queue().ShedFull == 2 })
	d.gate <- struct{}{}
	d.gate <- struct{}{}
	all.Wait()
	if faults[0] != nil || faults[1] != nil || !errs.Is(faults[2], errs.Unavailable) || faults[3] != nil {
		t.Errorf("%v", faults)
	}
}

func TestBatchesAreFilledUpToTheSizesOfTheModel(t *testing.T) {
	d := newDoubling(1)
	d.gate, d.began = make(chan struct{}), make(chan int, 10)
	b := start(t, d, batch.Options{Batching: serve.Batching{Sizes: []int{2, 8}}})
	go func() {
		for range 3 {
			d.gate <- struct{}{}
		}
	}()
	for rows, want := range map[int]float32{1: 2, 5: 10, 8: 16} {
		x := make([]float32, rows)
		x[rows-1] = want / 2
		if y, err := ask(context.Background(), b, 0, x...); err != nil || len(y) != rows || y[rows-1] != want {
			t.Errorf("%v, %v", y, err)
		}
	}
	slices.Sort(d.given)
	if q := b.Queue(); !slices.Equal(d.given, []int{2, 8, 8}) || q.Padding != 4 {
		t.Errorf("%v, %+v", d.given, q)
	}
}

func TestVariableInputsAreJoinedWithEqualsOrFilledUpWhenAsked(t *testing.T) {
	for _, pad := range []bool{false, true} {
		d := newDoubling(tensor.Any)
		d.gate, d.began = make(chan struct{}), make(chan int, 10)
		b := start(t, d, batch.Options{Batching: serve.Batching{PadVariable: pad}})
		var all sync.WaitGroup
		one := func(n int, x tensor.Tensor, want ...float32) {
			all.Go(func() {
				y, err := send(context.Background(), b, 0, x)
				if err != nil || !slices.Equal(y, want) {
					t.Errorf("padded %v: %v, %v, want %v", pad, y, err, want)
				}
			})
			if n > 0 {
				until(t, "waiting", waiting(b, n))
			}
		}
		one(0, tensor.Float32s([]float32{1}, 1, 1), 2)
		<-d.began
		second := []float32{4, 6}
		if pad {
			second = []float32{4, 6, 4}
		}
		one(1, tensor.Float32s([]float32{2, 3}, 1, 2), second...)
		one(2, tensor.Float32s([]float32{4, 5, 6}, 1, 3), 8, 10, 12)
		third := []float32{14, 16, 18, 20}
		if pad {
			third = []float32{14, 16, 14, 18, 20, 14}
		}
		one(3, tensor.Float32s([]float32{7, 8, 9, 10}, 2, 2), third...)
		go func() {
			for range 3 {
				d.gate <- struct{}{}
			}
		}()
		all.Wait()
		want := []int{1, 3, 1}
		if pad {
			want = []int{1, 4}
			<-d.gate
		}
		if !slices.Equal(d.given, want) {
			t.Errorf("padded %v: batches of %v", pad, d.given)
		}
	}
}

func TestAFaultIsToldToEveryoneInTheBatchAndTheNextIsAnswered(t *testing.T) {
	d := newDoubling(1)
	d.gate, d.began = make(chan struct{}), make(chan int, 10)
	b := start(t, d, batch.Options{})
	var all sync.WaitGroup
	all.Go(func() { _, _ = ask(context.Background(), b, 0, 1) })
	<-d.began
	for i := range 2 {
		all.Go(func() {
			if _, err := ask(context.Background(), b, 0, 665+float32(i)); err == nil || !strings.Contains(err.Error(), "hole") {
				t.Errorf("%v", err)
			}
		})
		until(t, "waiting", waiting(b, i+1))
	}
	go func() {
		for range 3 {
			d.gate <- struct{}{}
		}
	}()
	all.Wait()
	if y, err := ask(context.Background(), b, 0, 4); err != nil || y[0] != 8 {
		t.Errorf("%v, %v", y, err)
	}
}

func TestSettingsThatMeanNothingAreRefused(t *testing.T) {
	for _, set := range []serve.Batching{
		{MaxRows: -1},
		{SLO: -1},
		{Wait: job.Duration(-1)},
		{Weight: -1},
		{Sizes: []int{4, 2}},
		{Sizes: []int{0}},
		{Sizes: []int{2, 2}},
		{Sizes: []int{2, 4}, MaxRows: 8},
		{Preferred: []int{9}, MaxRows: 8},
	} {
		if _, err := batch.New(newDoubling(1), batch.Options{Batching: set}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", set, err)
		}
	}
}

// lone is a model whose rows are not independent.
type lone struct{ *doubling }

func (l lone) Signature() serve.Signature {
	s := l.doubling.Signature()
	s.Batched = false
	return s
}

func TestAModelThatMayNotBeJoinedComputesOneRequestAtATime(t *testing.T) {
	d := newDoubling(1)
	b := start(t, lone{d}, batch.Options{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 50 {
				if y, err := ask(context.Background(), b, 0, 1, 2, 3); err != nil || len(y) != 3 {
					t.Errorf("%v, %v", y, err)
				}
			}
		})
	}
	clients.Wait()
	if q := b.Queue(); q.Batches != 400 || d.over.Load() {
		t.Errorf("%+v", q)
	}
}

// mixing answers with one row, whatever it is given.
type mixing struct{ *doubling }

func (m mixing) Run(_ context.Context, in, out []tensor.Tensor, rows int) error {
	m.began <- rows
	<-m.gate
	out[0].Reset(tensor.Float32, 1, 1)
	return nil
}

func TestAModelThatMixesItsRowsIsFoundOut(t *testing.T) {
	d := newDoubling(1)
	d.gate, d.began = make(chan struct{}), make(chan int, 10)
	b := start(t, mixing{d}, batch.Options{})
	var all sync.WaitGroup
	all.Go(func() { _, _ = ask(context.Background(), b, 0, 1) })
	<-d.began
	for i := range 2 {
		all.Go(func() {
			if _, err := ask(context.Background(), b, 0, 1); err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
		until(t, "waiting", waiting(b, i+1))
	}
	d.gate <- struct{}{}
	d.gate <- struct{}{}
	all.Wait()
}

func TestARequestCostsNoAllocation(t *testing.T) {
	d := newDoubling(4)
	b := start(t, d, batch.Options{Cores: batch.NewCores(1)})
	x := tensor.Float32s(make([]float32, 8), 2, 4)
	c := serve.Call{In: []tensor.Tensor{x}}
	sig := b.Signature()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	once := func() {
		if err := sig.Check(&c); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(ctx, &c); err != nil {
			t.Fatal(err)
		}
	}
	once()
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkManyClients(b *testing.B) {
	d := newDoubling(4)
	d.parallel = 2
	m := start(b, d, batch.Options{Cores: batch.NewCores(0)})
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		x := tensor.Float32s(make([]float32, 4), 1, 4)
		c := serve.Call{In: []tensor.Tensor{x}}
		sig := m.Signature()
		for p.Next() {
			if err := sig.Check(&c); err != nil {
				b.Fatal(err)
			}
			if err := m.Run(context.Background(), &c); err != nil {
				b.Fatal(err)
			}
		}
	})
}
