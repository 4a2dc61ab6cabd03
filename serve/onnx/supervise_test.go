//go:build linux

package onnx_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/testkit/onnxfile"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

func small() []byte { return onnxfile.MLP(4, 3, 2).Bytes() }

// load loads a model into a fake worker.
func load(t *testing.T, o onnx.Options, wait time.Duration, how string) (*onnx.Model, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if o.Lanes == 0 {
		o.Lanes = 2
	}
	if o.Region == 0 {
		o.Region = 1 << 20
	}
	o.Library = exe // any file
	rt := onnx.New(o)
	rt.Fake(wait, exe, "FAKE_WORKER="+how)
	m, err := rt.Open(t.Context(), bytes.NewReader(small()), int64(len(small())))
	if err != nil {
		return nil, err
	}
	t.Cleanup(m.Close)
	return m, nil
}

func loaded(t *testing.T, o onnx.Options) *onnx.Model {
	t.Helper()
	m, err := load(t, o, time.Millisecond, "well")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// call is a request of one row whose first number is first.
func call(first float32) *serve.Call {
	ids := tensor.Tensor{}
	ids.Reset(tensor.Int64, 1)
	clear(ids.Data)
	return &serve.Call{
		In: []tensor.Tensor{
			tensor.Float32s([]float32{first, 2}, 1, 2), ids, {Type: tensor.Bytes, Shape: []int{1}, Strings: [][]byte{[]byte("a\x00word")}},
		},
		Out: make([]tensor.Tensor, 3), Rows: 1,
	}
}

func run(ctx context.Context, m *onnx.Model, c *serve.Call) error {
	return m.Run(ctx, c.In, c.Out, c.Rows)
}

func echoed(t *testing.T, c *serve.Call) {
	t.Helper()
	for i, in := range c.In {
		out := c.Out[i]
		if in.Type != out.Type || !slices.Equal(in.Shape, out.Shape) || !bytes.Equal(in.Data, out.Data) || !slices.EqualFunc(in.Strings, out.Strings, bytes.Equal) {
			t.Errorf("%d: %+v came back as %+v", i, in, out)
		}
	}
}

func TestARequestIsComputedInAnotherProcess(t *testing.T) {
	m := loaded(t, onnx.Options{})
	sig := m.Signature()
	if len(sig.Inputs) != 3 || !slices.Equal(sig.Inputs[0].Shape, []int{-1, -1}) || sig.Inputs[2].Type != tensor.Bytes || m.MemoryBytes() < int64(len(small())) || m.Parallel() != 2 {
		t.Errorf("%+v, %d bytes, %d lanes", sig, m.MemoryBytes(), m.Parallel())
	}
	c := call(5)
	for range 3 { // the memory of the answer is used again
		if err := run(t.Context(), m, c); err != nil {
			t.Fatal(err)
		}
		echoed(t, c)
	}
	none := &serve.Call{In: []tensor.Tensor{
		{Type: tensor.Float32, Shape: []int{0, 2}}, {Type: tensor.Int64, Shape: []int{0}}, {Type: tensor.Bytes, Shape: []int{0}},
	}, Out: make([]tensor.Tensor, 3)}
	if err := run(t.Context(), m, none); err != nil || none.Out[0].Shape[0] != 0 || len(none.Out[2].Strings) != 0 {
		t.Errorf("no rows: %v, %+v", err, none.Out)
	}
}

func TestARequestThatEndsTheProcessCostsItselfAlone(t *testing.T) {
	for _, c := range []struct {
		first float32
		says  string
	}{{crash, "a kernel fell over"}, {killed, "SIGKILL"}, {nonsense, "makes no sense"}, {outside, "makes no sense"}, {mismatch, "makes no sense"}, {other, "something else"}} {
		m := loaded(t, onnx.Options{})
		before := m.Pid()
		if err := run(t.Context(), m, call(c.first)); err == nil || !strings.Contains(err.Error(), c.says) || errs.KindOf(err) != errs.Other {
			t.Errorf("%v: %v", c.first, err)
		}
		again := call(1)
		for { // a request that came at the same moment may still meet the old process
			err := run(t.Context(), m, again)
			if err == nil {
				break
			}
			if errs.KindOf(err) != errs.Other {
				t.Fatalf("%v: after it: %v", c.first, err)
			}
		}
		echoed(t, again)
		if m.Pid() == before {
			t.Errorf("%v: the same process answers", c.first)
		}
	}
}

func TestAModelThatHangsIsEndedAndOtherModelsGoOn(t *testing.T) {
	m, well := loaded(t, onnx.Options{Limit: 50 * time.Millisecond}), loaded(t, onnx.Options{})
	if err := run(t.Context(), m, call(hang)); !errs.Is(err, errs.Timeout) || !strings.Contains(err.Error(), "50ms") {
		t.Errorf("%v", err)
	}
	for _, m := range []*onnx.Model{well, m} {
		c := call(1)
		if err := run(t.Context(), m, c); err != nil {
			t.Fatal(err)
		}
		echoed(t, c)
	}
}

func TestACanceledRequestIsLeftAndItsPlaceIsUsedAgain(t *testing.T) {
	m := loaded(t, onnx.Options{Lanes: 1})
	before := m.Pid()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := run(ctx, m, call(slow)); !errs.Is(err, errs.Timeout) {
			t.Errorf("%v", err)
		}
		cancel()
		c := call(1)
		if err := run(t.Context(), m, c); err != nil {
			t.Fatal(err)
		}
		echoed(t, c)
	}
	if m.Pid() != before {
		t.Error("the process was ended")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(gone, m, call(1)); err != nil && !errs.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestWhatAModelRefusesIsSaid(t *testing.T) {
	m := loaded(t, onnx.Options{})
	for _, c := range []struct {
		first float32
		kind  errs.Kind
		says  string
	}{{refuse, errs.Invalid, "invalid dimensions"}, {noRoom, errs.TooLarge, "send fewer rows"}, {noMemory, errs.Exhausted, "memory"}} {
		if err := run(t.Context(), m, call(c.first)); !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.first, err)
		}
	}
	large := call(1)
	large.In[0].Reset(tensor.Float32, 1<<17, 4)
	if err := run(t.Context(), m, large); !errs.Is(err, errs.TooLarge) || !strings.Contains(err.Error(), "send fewer rows") {
		t.Errorf("too large: %v", err)
	}
}

func TestWhileAProcessIsNotStartedAnewRequestsAreToldWhen(t *testing.T) {
	m, err := load(t, onnx.Options{}, time.Hour, "well")
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), m, call(crash)); err == nil {
		t.Error("a crash gave no error")
	}
	for {
		err := run(t.Context(), m, call(1))
		if errs.Is(err, errs.Unavailable) {
			if !strings.Contains(err.Error(), "a kernel fell over") || !strings.Contains(err.Error(), "1h0m0s") {
				t.Errorf("%v", err)
			}
			return
		}
	}
}

func TestAModelThatCannotBeLoadedSaysWhy(t *testing.T) {
	for _, c := range []struct {
		how  string
		kind errs.Kind
		says string
	}{
		{"load-fail", errs.Invalid, "needs an operator"},
		{"load-crash", errs.Invalid, "terminate called"},
		{"load-hang", errs.Timeout, "within 50ms"},
		{"load-nonsense", errs.Other, "understands"},
		{"load-library", errs.Unsupported, "lineshaft runtime install onnx"},
	} {
		o := onnx.Options{}
		if c.how == "load-hang" {
			o.LoadLimit = 50 * time.Millisecond
		}
		if _, err := load(t, o, time.Millisecond, c.how); err == nil || !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%v)", c.how, err, errs.KindOf(err))
		}
	}
}

func TestManyRequestsWithCrashesAmongThemGetTheirOwnAnswers(t *testing.T) {
	m := loaded(t, onnx.Options{Lanes: 3})
	var all sync.WaitGroup
	for g := range 12 {
		all.Go(func() {
			for i := range 60 {
				first := float32(g*60 + i)
				if g == 0 && i%20 == 7 {
					first = crash
				}
				c := call(first)
				switch err := run(t.Context(), m, c); {
				case err == nil:
					echoed(t, c)
				case errs.KindOf(err) != errs.Other && errs.KindOf(err) != errs.Unavailable:
					t.Errorf("%v: %v", first, err)
				}
			}
		})
	}
	all.Wait()
}

func TestTheProcessEndsWithTheModel(t *testing.T) {
	m := loaded(t, onnx.Options{})
	pid := m.Pid()
	m.Close()
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d is still there", pid)
	}
	if err := run(t.Context(), m, call(1)); !errs.Is(err, errs.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestTheProcessEndsWithTheServerHoweverThatEnds(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), exe)
	server.Env = append(os.Environ(), "FAKE_SERVER=1")
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	if _, err := fmt.Fscan(out, &pid); err != nil || pid == 0 {
		t.Fatal(err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	for alive(pid) {
		time.Sleep(time.Millisecond)
	}
}

// alive tells whether a process computes still; one that nobody has waited for does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

func TestWithoutALibraryItSaysHowToGetOne(t *testing.T) {
	if !onnx.Built() {
		t.Log("built without the worker")
	}
	b := small()
	for _, c := range []struct {
		o    onnx.Options
		says string
	}{{onnx.Options{Folder: t.TempDir()}, "lineshaft runtime install onnx"}, {onnx.Options{}, "lineshaft runtime install onnx"}, {onnx.Options{Library: "/no/such/lib.so"}, "/no/such/lib.so"}} {
		rt := onnx.New(c.o)
		rt.Fake(time.Millisecond, "/proc/self/exe", "FAKE_WORKER=well")
		if _, err := rt.Load(t.Context(), model.ONNX, bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

func ExampleRead() {
	h, err := onnx.Read(bytes.NewReader(small()), int64(len(small())))
	fmt.Println(h.Inputs, h.Outputs, h.Opsets[""], h.Nodes, err)
	// Output: [{pixels float32 [-1 4]}] [{classes float32 [-1 2]}] 17 4 <nil>
}
