//go:build linux

package onnx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/internal/errs"
)

const (
	endTime    = time.Second // after which a worker that was told to end is killed
	keptErrors = 4 << 10     // of what a worker writes to standard error
)

// process is one worker: a model in a process of its own, with lanes that each compute one request at a time.
type process struct {
	cmd     *exec.Cmd
	control *net.UnixConn
	lanes   []*lane
	said    *tail
	hello   greeting
	begun   time.Time

	tell sync.Mutex // one message at a time on control
	dead atomic.Bool
	why  string        // why it ended; set before done is closed
	done chan struct{} // closed when it has ended

	mu     sync.Mutex
	killed string // why the server ended it, if it did
}

// start starts a worker and waits until it has loaded the model.
func start(ctx context.Context, o *Options, program command, library string, model *os.File) (*process, error) {
	const op = "onnx.start"
	p := &process{said: &tail{most: keptErrors}, done: make(chan struct{}), begun: time.Now()}
	control, theirs, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, errs.E(op, errs.Unavailable, err)
	}
	p.control = control
	files := []*os.File{theirs, model}
	handed := func() { // what the worker has is closed here: its end is seen by the sockets' end
		for _, f := range files {
			if f != model {
				f.Close()
			}
		}
	}
	for i := range o.Lanes {
		l, socket, memory, err := newLane(p, i, o.Region)
		if err != nil {
			handed()
			p.free()
			return nil, errs.E(op, errs.Unavailable, err)
		}
		p.lanes = append(p.lanes, l)
		files = append(files, socket, memory)
	}
	p.cmd = exec.Command(program.path, slices.Concat(program.args, []string{
		library, strconv.Itoa(o.Lanes), strconv.Itoa(o.Threads), strconv.Itoa(o.Region), strconv.FormatInt(int64(o.Memory), 10),
	})...)
	p.cmd.Env, p.cmd.Dir, p.cmd.ExtraFiles, p.cmd.Stderr, p.cmd.WaitDelay = append([]string{"LC_ALL=C"}, program.env...), "/", files, p.said, endTime
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the terminal is the server's
	err = p.cmd.Start()
	handed()
	if err != nil {
		p.free()
		return nil, errs.Errorf(op, errs.Unavailable, "the process for ONNX models cannot be started: %w", err)
	}
	go p.wait()
	if err := p.greet(ctx, o.LoadLimit); err != nil {
		p.kill("it did not load the model")
		<-p.done
		p.free()
		return nil, err
	}
	return p, nil
}

// greet waits for what the worker says once it has loaded the model, or cannot.
func (p *process) greet(ctx context.Context, limit time.Duration) error {
	const op = "onnx.start"
	p.control.SetReadDeadline(time.Now().Add(limit)) //nolint:errcheck // a socket of our own takes deadlines
	stop := context.AfterFunc(ctx, func() { p.kill("the server is done with it") })
	defer stop()
	var head [8]byte
	_, err := io.ReadFull(p.control, head[:])
	kind, n := binary.NativeEndian.Uint32(head[:]), binary.NativeEndian.Uint32(head[4:])
	if err == nil && n > mostGreeting {
		err = errCut
	}
	var text []byte
	if err == nil {
		text = make([]byte, n)
		_, err = io.ReadFull(p.control, text)
	}
	switch {
	case ctx.Err() != nil:
		return errs.E(op, errs.KindOf(ctx.Err()), ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errs.Errorf(op, errs.Timeout, "ONNX Runtime did not load the model within %v; its process was ended", limit)
	case err != nil:
		<-p.done
		return errs.Errorf(op, errs.Invalid, "ONNX Runtime ended while it loaded the model: %s", p.why)
	case kind == noLibrary:
		return errs.Errorf(op, errs.Unsupported, "the library cannot be used as ONNX Runtime: %s; %s", bytes.ToValidUTF8(text, []byte("?")), howToGet)
	case kind != ready:
		return errs.Errorf(op, errs.Invalid, "ONNX Runtime does not load the model: %s", refused(text))
	}
	if p.hello, err = parseGreeting(text); err != nil {
		return errs.Errorf(op, errs.Other, "the process for ONNX models says something else than this server understands: %w", err)
	}
	return nil
}

const unknownOp = "the model needs an operator that this ONNX Runtime does not have; export it with standard operators, or take a newer library (`lineshaft runtime list`)"

// refused is what ONNX Runtime says of a model, with what to do about the commonest.
func refused(text []byte) string {
	text = bytes.TrimSpace(bytes.ToValidUTF8(text, []byte("?")))
	for _, known := range []struct{ sign, advice string }{
		{"is not a registered function/op", unknownOp},
		{"No Op registered for", unknownOp},
		{"Opset", "the model is of a newer opset than this ONNX Runtime knows; export it with an older one, or take a newer library (`lineshaft runtime list`)"},
		{"bad_alloc", "the model needs more memory than it may have"},
	} {
		if bytes.Contains(text, []byte(known.sign)) {
			return known.advice + " (" + string(text) + ")"
		}
	}
	return string(text)
}

// wait notes how the worker ends.
func (p *process) wait() {
	err := p.cmd.Wait()
	p.mu.Lock()
	p.why = p.killed
	p.mu.Unlock()
	if p.why == "" {
		p.why = ended(err, p.said.last())
	}
	p.dead.Store(true)
	close(p.done)
}

// ended says how a process ended by itself.
func ended(err error, said string) string {
	why := "it ended by itself"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		why = exit.String()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			why = "it was ended by the signal " + unix.SignalName(status.Signal()) + " (" + status.Signal().String() + ")"
		}
	} else if err != nil {
		why = err.Error()
	}
	if said != "" {
		why += ": " + said
	}
	return why
}

// kill ends the worker at once; the first reason stands.
func (p *process) kill(why string) {
	p.mu.Lock()
	if p.killed == "" {
		p.killed = why
	}
	p.mu.Unlock()
	p.dead.Store(true)       // nobody is to begin anything with it
	_ = p.cmd.Process.Kill() // it may have ended by itself
}

// end tells the worker to end, and ends it when it does not.
func (p *process) end() {
	p.mu.Lock()
	p.killed = "the server is done with it"
	p.mu.Unlock()
	p.control.Close()
	select {
	case <-p.done:
	case <-time.After(endTime):
		p.kill("")
		<-p.done
	}
}

// leave asks the worker to leave a request that nobody waits for.
func (p *process) leave(lane int, seq uint64) {
	var msg [16]byte
	binary.NativeEndian.PutUint32(msg[:], uint32(lane))
	binary.NativeEndian.PutUint64(msg[8:], seq)
	p.tell.Lock()
	defer p.tell.Unlock()
	p.control.SetWriteDeadline(time.Now().Add(endTime)) //nolint:errcheck // a socket of our own takes deadlines
	_, _ = p.control.Write(msg[:])                      // a worker that is gone has left it
}

// free closes what start has opened, where no one else holds it.
func (p *process) free() {
	p.control.Close()
	for _, l := range p.lanes {
		l.close()
	}
}

// memory is what the worker holds of its own, in bytes.
func (p *process) memory() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(text, []byte("RssAnon:"))
	var kib int64
	_, _ = fmt.Sscanf(string(rest), "%d", &kib) // 0 where the kernel does not say
	return kib << 10
}

// pair makes a socket pair: ours, and the one for the worker.
func pair(kind int) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "lineshaft"), os.NewFile(uintptr(fds[1]), "worker")
	defer ours.Close()
	if err := unix.SetNonblock(fds[1], false); err != nil { // the worker's threads wait in recv
		theirs.Close()
		return nil, nil, err
	}
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	b    []byte
	most int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - t.most; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

// last is the last line that says something.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.b), []byte("\n"))
	line := bytes.ToValidUTF8(lines[len(lines)-1], []byte("?"))
	return string(line[:min(len(line), 300)])
}
