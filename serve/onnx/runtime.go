//go:build linux

package onnx

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	goruntime "runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// command is how a worker is started; the worker's own arguments follow args.
type command struct {
	path string
	args []string
	env  []string
}

// Runtime loads ONNX models, each into a process of its own.
type Runtime struct {
	o Options

	mu      sync.Mutex
	program command
	file    *os.File // the worker program, in memory
}

// New makes a runtime. Whether it can load a model is found out when it is asked to.
func New(o Options) *Runtime {
	if o.Lanes <= 0 {
		o.Lanes = min(goruntime.GOMAXPROCS(0), 64)
	}
	if o.Threads <= 0 {
		o.Threads = 1
	}
	if o.Region <= 0 {
		o.Region = defaultRegion
	}
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.LoadLimit <= 0 {
		o.LoadLimit = defaultLoadLimit
	}
	if o.wait <= 0 {
		o.wait = defaultWait
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Runtime{o: o}
}

// Load starts a process for a model, waits until it has loaded it, and puts a queue before it.
func (rt *Runtime) Load(ctx context.Context, _ model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	m, err := rt.Open(ctx, r, size)
	if err != nil {
		return nil, err
	}
	b, err := batch.New(m, rt.o.Batch)
	if err != nil {
		m.Close()
		return nil, err
	}
	return b, nil
}

// Open is Load without the queue.
func (rt *Runtime) Open(ctx context.Context, r io.ReaderAt, size int64) (*Model, error) {
	const op = "onnx.Open"
	if _, err := Read(r, size); err != nil {
		return nil, err
	}
	program, err := rt.worker()
	if err != nil {
		return nil, err
	}
	library, err := rt.o.find()
	if err != nil {
		return nil, err
	}
	file, err := inMemory("lineshaft-model", false)
	if err != nil {
		return nil, errs.E(op, errs.Unavailable, err)
	}
	m, err := rt.serve(ctx, program, library, file, r, size)
	if err != nil {
		file.Close()
		return nil, err
	}
	return m, nil
}

func (rt *Runtime) serve(ctx context.Context, program command, library string, file *os.File, r io.ReaderAt, size int64) (*Model, error) {
	const op = "onnx.Load"
	if n, err := io.Copy(file, io.NewSectionReader(stoppable{ctx, r}, 0, size)); err != nil || n != size {
		return nil, errs.E(op, errs.Other, fmt.Errorf("copying the model to memory: %d of %d bytes: %w", n, size, err))
	}
	if err := seal(file); err != nil {
		return nil, errs.E(op, errs.Unavailable, err)
	}
	p, err := start(ctx, &rt.o, program, library, file)
	if err != nil {
		return nil, err
	}
	m := &Model{
		o: rt.o, program: program, library: library, file: file, size: size, log: rt.o.Log,
		free: make(chan struct{}, 2*rt.o.Lanes), changed: make(chan struct{}),
	}
	if m.sig, err = signature(p.hello); err != nil {
		p.end()
		p.free()
		return nil, err
	}
	if m.sig.Batched {
		if p, err = m.rows(ctx, p); err != nil {
			return nil, err
		}
	}
	m.p = p
	m.ctx, m.stop = context.WithCancel(context.Background())
	for _, l := range p.lanes {
		m.put(l)
	}
	m.closed.Go(func() { m.supervise(p) })
	return m, nil
}

// rows tries whether the model's rows are independent of each other, and unsets Batched where they are not. A process that
// does not survive it is replaced: what was tried may be nothing that anybody would ask.
func (m *Model) rows(ctx context.Context, p *process) (*process, error) {
	yes, known, why := independent(m.sig, func(in, out []tensor.Tensor) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return p.lanes[0].call(context.Background(), in, out, m.o.Limit)
	})
	if m.sig.Batched = yes || !known && sameSymbol(p.hello); !m.sig.Batched {
		m.log.Info("requests to an ONNX model are not joined", "why", why)
	}
	if ctx.Err() != nil || p.dead.Load() {
		p.end()
		p.free()
		if ctx.Err() != nil {
			return nil, errs.E("onnx.Open", errs.KindOf(ctx.Err()), ctx.Err())
		}
		m.sig.Batched = false
		return start(ctx, &m.o, m.program, m.library, m.file)
	}
	return p, nil
}

// worker puts the embedded program into memory, once.
func (rt *Runtime) worker() (command, error) {
	const op = "onnx.worker"
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.program.path != "" {
		return rt.program, nil
	}
	b, err := build.ReadFile("build/worker")
	if err != nil {
		return command{}, errs.Errorf(op, errs.Unsupported, "this binary was built without the program that runs ONNX models; `make build` in Lineshaft's folder builds one that has it where gcc is installed")
	}
	f, err := inMemory("lineshaft-onnx", true)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = seal(f)
	}
	if err != nil {
		return command{}, errs.E(op, errs.Unavailable, err)
	}
	rt.file = f
	rt.program = command{path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())}
	return rt.program, nil
}

// seal lets nobody change a file in memory.
func seal(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	return err
}

// stoppable ends a long read when the server stops.
type stoppable struct {
	ctx context.Context
	r   io.ReaderAt
}

func (s stoppable) ReadAt(p []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.ReadAt(p, off)
}

var _ serve.Runtime = (*Runtime)(nil)
