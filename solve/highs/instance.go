package highs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
)

// Instance is HiGHS with memory of its own, for one solve, in one goroutine. After a method failed, it can only be
// closed.
type Instance struct {
	ctx    context.Context
	module api.Module
	limit  uint32
	solver uint64 // HiGHS's own handle
	err    error  // the first failure
	cols   int
	rows   int
}

// New makes an instance. Time inside is what elapsed says; nil stops it. When ctx ends, so does a running call.
func (m *Module) New(ctx context.Context, elapsed func() time.Duration) (*Instance, error) {
	ctx = context.WithValue(ctx, insideKey{}, &inside{elapsed})
	module, err := m.runtime.InstantiateModule(ctx, m.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, errs.Errorf("highs.New", errs.Exhausted, "cannot start HiGHS: %w", err)
	}
	h := &Instance{ctx: ctx, module: module, limit: uint32(m.memory / page * page)}
	h.call("start")
	h.solver = h.call("Highs_create")
	h.set("output_flag", false)
	h.set("threads", 1)
	h.set("random_seed", 0)
	if h.err != nil {
		h.Close()
	}
	return h, h.err
}

// Close frees the instance's memory.
func (h *Instance) Close() { _ = h.module.Close(context.WithoutCancel(h.ctx)) } // frees memory; has nothing to report

// call calls a function of HiGHS's C interface; after the first failure it does nothing.
func (h *Instance) call(name string, args ...uint64) uint64 {
	if h.err != nil {
		return 0
	}
	f := h.module.ExportedFunction(exports[name])
	if f == nil {
		h.err = errs.Errorf("highs.call", errs.Corrupt, "the solver has no function %s", name)
		return 0
	}
	out, err := f.Call(h.ctx, args...)
	if err != nil {
		h.err = h.failure(name, err)
		return 0
	}
	if len(out) == 0 {
		return 0
	}
	return out[0]
}

// failure says why a call ended inside.
func (h *Instance) failure(name string, err error) error {
	const op = "highs.call"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errs.E(op, errs.Timeout, errors.New("the solver did not finish in the time given"))
	case errors.Is(err, context.Canceled):
		return errs.E(op, errs.Canceled, errors.New("the solver was interrupted"))
	case uint64(h.module.Memory().Size())+uint64(h.limit)/8 > uint64(h.limit):
		return errs.Errorf(op, errs.Exhausted, "the solver needs more than the %d MiB of memory it may use; make the problem smaller", h.limit>>20)
	case errors.Is(err, errCaught):
		return errs.Errorf(op, errs.Other, "the solver gave up in %s: %w", name, errCaught)
	}
	return errs.Errorf(op, errs.Other, "the solver broke off in %s: %w", name, err)
}

// memory copies bytes into the instance; they live as long as it does.
func (h *Instance) memory(b []byte) uint64 {
	p := h.call("malloc", uint64(max(len(b), 8)))
	if h.err == nil && (p == 0 || !h.module.Memory().Write(uint32(p), b)) {
		h.err = errs.Errorf("highs.memory", errs.Exhausted, "the problem needs more than the %d MiB of memory the solver may use; make it smaller", h.limit>>20)
	}
	return p
}

func (h *Instance) text(s string) uint64 { return h.memory(append([]byte(s), 0)) }

func (h *Instance) floats(n int, at func(int) float64) uint64 {
	b := make([]byte, 8*n)
	for i := range n {
		binary.LittleEndian.PutUint64(b[8*i:], math.Float64bits(at(i)))
	}
	return h.memory(b)
}

func (h *Instance) ints(n int, at func(int) int) uint64 {
	b := make([]byte, 4*n)
	for i := range n {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(at(i)))
	}
	return h.memory(b)
}

func (h *Instance) read(p uint64, n int) []float64 {
	if h.err != nil {
		return nil
	}
	b, ok := h.module.Memory().Read(uint32(p), uint32(8*n))
	if !ok {
		h.err = errs.Errorf("highs.read", errs.Corrupt, "the solver's answer lies outside its memory")
		return nil
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return out
}

// set sets an option that HiGHS knows.
func (h *Instance) set(name string, value any) {
	p := h.text(name)
	var status uint64
	switch v := value.(type) {
	case bool:
		n := uint64(0)
		if v {
			n = 1
		}
		status = h.call("Highs_setBoolOptionValue", h.solver, p, n)
	case int:
		status = h.call("Highs_setIntOptionValue", h.solver, p, api.EncodeI32(int32(min(v, math.MaxInt32))))
	case float64:
		status = h.call("Highs_setDoubleOptionValue", h.solver, p, api.EncodeF64(v))
	case string:
		status = h.call("Highs_setStringOptionValue", h.solver, p, h.text(v))
	}
	if h.err == nil && int32(status) != 0 {
		h.err = errs.Errorf("highs.set", errs.Other, "the solver refuses %s = %v", name, value)
	}
}

// Set sets an option, by HiGHS's name, to a bool, int, float64 or string.
func (h *Instance) Set(name string, value any) error {
	h.set(name, value)
	return h.err
}

// Pass hands the problem in, by rows. It must be valid.
func (h *Instance) Pass(p *lp.Problem) error {
	h.cols, h.rows = len(p.Columns), len(p.Rows)
	sense := int32(1)
	if p.Maximise {
		sense = -1
	}
	starts, terms := make([]int, h.rows), make([]lp.Term, 0, p.Terms())
	for i, r := range p.Rows {
		starts[i] = len(terms)
		terms = append(terms, r.Terms...)
	}
	const byRows = 2
	args := []uint64{
		h.solver, uint64(h.cols), uint64(h.rows), uint64(len(terms)), byRows, api.EncodeI32(sense), api.EncodeF64(p.Offset),
		h.floats(h.cols, func(i int) float64 { return p.Columns[i].Cost }),
		h.floats(h.cols, func(i int) float64 { return p.Columns[i].Lower }),
		h.floats(h.cols, func(i int) float64 { return p.Columns[i].Upper }),
		h.floats(h.rows, func(i int) float64 { return p.Rows[i].Lower }),
		h.floats(h.rows, func(i int) float64 { return p.Rows[i].Upper }),
		h.ints(h.rows, func(i int) int { return starts[i] }),
		h.ints(len(terms), func(i int) int { return terms[i].Column }),
		h.floats(len(terms), func(i int) float64 { return terms[i].Value }),
	}
	name := "Highs_passLp"
	if p.Integers() > 0 {
		name = "Highs_passMip"
		args = append(args, h.ints(h.cols, func(i int) int { return int(min(p.Columns[i].Kind, lp.Integer)) }))
	}
	if status := h.call(name, args...); h.err == nil && int32(status) < 0 {
		h.err = errs.Errorf("highs.Pass", errs.Other, "the solver refuses the problem")
	}
	return h.err
}

// Start gives a solution to begin with.
func (h *Instance) Start(x []float64) error {
	status := h.call("Highs_setSolution", h.solver, h.floats(len(x), func(i int) float64 { return x[i] }), 0, 0, 0)
	if h.err == nil && int32(status) < 0 {
		h.err = errs.Errorf("highs.Start", errs.Other, "the solver refuses the solution to begin with")
	}
	return h.err
}

// Run solves. Its outcome is Status's.
func (h *Instance) Run() error {
	if status := h.call("Highs_run", h.solver); h.err == nil && int32(status) < 0 {
		h.err = errs.Errorf("highs.Run", errs.Other, "the solver failed (%s)", h.Status())
	}
	return h.err
}

// Status is HiGHS's model status.
func (h *Instance) Status() Status { return Status(int32(h.call("Highs_getModelStatus", h.solver))) }

// Status of the model, with HiGHS's numbers (HighsModelStatus).
type Status int

// The statuses that Run leaves behind.
const (
	Empty                 Status = 6
	Optimal               Status = 7
	Infeasible            Status = 8
	UnboundedOrInfeasible Status = 9
	Unbounded             Status = 10
	TimeLimit             Status = 13
	IterationLimit        Status = 14
	SolutionLimit         Status = 16 // of nodes too
)

func (s Status) String() string { return fmt.Sprintf("HiGHS model status %d", int(s)) }

// Float is an information value by HiGHS's name, like mip_dual_bound.
func (h *Instance) Float(name string) float64 {
	p := h.memory(nil)
	h.call("Highs_getDoubleInfoValue", h.solver, h.text(name), p)
	if v := h.read(p, 1); len(v) == 1 {
		return v[0]
	}
	return math.NaN()
}

// Int is a whole information value, like simplex_iteration_count; mip_node_count has 64 bits and is read as such.
func (h *Instance) Int(name string) int {
	p, get := h.memory(make([]byte, 8)), "Highs_getIntInfoValue"
	if name == "mip_node_count" {
		get = "Highs_getInt64InfoValue"
	}
	h.call(get, h.solver, h.text(name), p)
	if h.err != nil {
		return 0
	}
	if get == "Highs_getInt64InfoValue" {
		v, _ := h.module.Memory().ReadUint64Le(uint32(p))
		return int(int64(v))
	}
	v, _ := h.module.Memory().ReadUint32Le(uint32(p))
	return int(int32(v))
}

// Solution reads the values: of columns, reduced costs, of rows, duals of rows.
func (h *Instance) Solution() (x, reduced, activity, duals []float64, err error) {
	zero := func(int) float64 { return 0 }
	a, b, c, d := h.floats(h.cols, zero), h.floats(h.cols, zero), h.floats(h.rows, zero), h.floats(h.rows, zero)
	h.call("Highs_getSolution", h.solver, a, b, c, d)
	x, reduced, activity, duals = h.read(a, h.cols), h.read(b, h.cols), h.read(c, h.rows), h.read(d, h.rows)
	return x, reduced, activity, duals, h.err
}

// Err is the first failure of the instance, nil when there was none.
func (h *Instance) Err() error { return h.err }
