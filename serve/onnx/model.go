//go:build linux

package onnx

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

const (
	mostWait  = 30 * time.Second
	soon      = time.Minute     // a worker that ran longer was well
	patience  = time.Second     // a request waits for a worker that is started within
	graceTime = 5 * time.Second // for a canceled request to be left
)

// Model is an ONNX model in service: its worker, and the one that starts it anew.
type Model struct {
	o       Options
	program command
	library string
	file    *os.File // the model's bytes, in memory
	size    int64
	sig     serve.Signature
	log     *slog.Logger
	free    chan struct{} // as many as there are lanes in idle

	stop   context.CancelFunc
	ctx    context.Context
	closed sync.WaitGroup // the supervisor, and whoever settles a lane

	mu      sync.Mutex
	idle    []*lane // the one that was used last is taken first: its memory is in the processor's cache
	p       *process
	down    string // why there is no worker, or ""
	next    time.Time
	changed chan struct{} // closed when down or next changes
}

// Signature is what the model takes and gives.
func (m *Model) Signature() serve.Signature { return m.sig }

// Parallel is how many calls of Run compute at a time; more wait for their turn.
func (m *Model) Parallel() int { return m.o.Lanes }

// About says which ONNX Runtime computes, from which file, and what its process has given up.
func (m *Model) About() Found {
	memory := m.MemoryBytes()
	m.mu.Lock()
	defer m.mu.Unlock()
	return Found{Version: m.p.hello.version, Library: m.library, Confined: m.p.hello.confined, Memory: units.Bytes(memory)}
}

// MemoryBytes is the model's bytes and what its worker holds.
func (m *Model) MemoryBytes() int64 {
	m.mu.Lock()
	p := m.p
	m.mu.Unlock()
	return m.size + p.memory()
}

// Run computes out from in: one message to the worker and one back, whatever the number of rows.
func (m *Model) Run(ctx context.Context, in, out []tensor.Tensor, _ int) error {
	const op = "onnx.Run"
	l, err := m.take(ctx)
	if err != nil {
		return err
	}
	err = l.call(ctx, in, out, m.o.Limit)
	if errors.Is(err, errLeft) {
		m.closed.Go(func() {
			if l.settle(graceTime) {
				m.put(l)
			} else {
				l.close()
			}
		})
		return errs.E(op, errs.KindOf(ctx.Err()), ctx.Err())
	}
	m.put(l)
	return err
}

// take gives a lane of a worker that lives.
func (m *Model) take(ctx context.Context) (*lane, error) {
	const op = "onnx.Run"
	for {
		select {
		case <-m.free:
			if l := m.pop(); l != nil {
				return l, nil
			}
			continue
		default:
		}
		m.mu.Lock()
		down, next, changed := m.down, m.next, m.changed
		m.mu.Unlock()
		if wait := time.Until(next); down != "" && wait > patience {
			return nil, errs.Errorf(op, errs.Unavailable, "the model's process ended: %s; it is started anew in %v", down, wait.Round(time.Second))
		}
		select {
		case <-m.free:
			if l := m.pop(); l != nil {
				return l, nil
			}
		case <-changed:
		case <-m.ctx.Done():
			return nil, errs.Errorf(op, errs.Unavailable, "the model is being taken out of service")
		case <-ctx.Done():
			return nil, errs.E(op, errs.KindOf(ctx.Err()), ctx.Err())
		}
	}
}

// pop takes a lane off the stack, for which the caller has taken one from free; nil when its worker has ended.
func (m *Model) pop() *lane {
	m.mu.Lock()
	l := m.idle[len(m.idle)-1]
	m.idle = m.idle[:len(m.idle)-1]
	m.mu.Unlock()
	if l.p.dead.Load() {
		l.close()
		return nil
	}
	return l
}

// put gives a lane back. There is room for twice the lanes: those of a worker that ended may still lie there.
func (m *Model) put(l *lane) {
	if l.p.dead.Load() {
		l.close()
		return
	}
	m.mu.Lock()
	if len(m.idle) == cap(m.free) {
		m.mu.Unlock()
		l.close()
		return
	}
	m.idle = append(m.idle, l)
	m.mu.Unlock()
	m.free <- struct{}{}
}

// supervise starts the worker anew whenever it ends, later each time it ends soon.
func (m *Model) supervise(p *process) {
	wait := m.o.wait
	for {
		select {
		case <-p.done:
		case <-m.ctx.Done():
			return
		}
		if time.Since(p.begun) > soon {
			wait = m.o.wait
		}
		why := p.why
		p.control.Close()
		for {
			m.log.Warn("the process of an ONNX model ended", "why", why, "again in", wait)
			m.tell(why, time.Now().Add(wait), nil)
			if !m.sleep(wait) {
				return
			}
			wait = min(2*wait, mostWait)
			again, err := start(m.ctx, &m.o, m.program, m.library, m.file)
			if err == nil {
				p = again
				break
			}
			if m.ctx.Err() != nil {
				return
			}
			why = err.Error()
		}
		m.tell("", time.Time{}, p)
		for _, l := range p.lanes {
			m.put(l)
		}
	}
}

// tell changes what requests that wait see.
func (m *Model) tell(down string, next time.Time, p *process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down, m.next = down, next
	if p != nil {
		m.p = p
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Model) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// Close ends the worker.
func (m *Model) Close() {
	m.stop()
	m.mu.Lock()
	p := m.p
	m.mu.Unlock()
	p.end()
	m.closed.Wait()
	m.mu.Lock() // the supervisor may have started another at the last moment
	last := m.p
	m.mu.Unlock()
	if last != p {
		last.end()
	}
	for {
		select {
		case <-m.free:
			if l := m.pop(); l != nil {
				l.close()
			}
		default:
			m.file.Close()
			return
		}
	}
}

var _ batch.Model = (*Model)(nil)
