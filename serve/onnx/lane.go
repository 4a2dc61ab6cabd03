//go:build linux

package onnx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// kept is how much of a lane's memory stays between requests; what a larger one took goes back to the system.
const kept = 16 << 20

// lane is one request at a time to a worker: a socket for messages, memory for tensors. Whoever took it from the model
// is the only one to touch it.
type lane struct {
	p      *process
	index  int
	socket *net.UnixConn
	memory []byte
	seq    uint64
	msg    []byte
}

// newLane makes a lane, and the worker's ends of it. The memory has its full size from the start, of which the system
// gives only what is written to. Neither end can change the size: reading what the other has cut off would end the server.
func newLane(p *process, index, region int) (*lane, *os.File, *os.File, error) {
	socket, theirs, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, nil, err
	}
	l := &lane{p: p, index: index, socket: socket, msg: make([]byte, mostMessage)}
	memory, err := inMemory("lineshaft-tensors", false)
	if err == nil {
		err = memory.Truncate(int64(region))
	}
	if err == nil {
		_, err = unix.FcntlInt(memory.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err == nil {
		l.memory, err = unix.Mmap(int(memory.Fd()), 0, region, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	}
	if err != nil {
		socket.Close()
		theirs.Close()
		if memory != nil {
			memory.Close()
		}
		return nil, nil, nil, fmt.Errorf("shared memory of %v: %w", units.Bytes(region), err)
	}
	return l, theirs, memory, nil
}

// inMemory makes a file that is in memory alone.
func inMemory(name string, program bool) (*os.File, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if program {
		flags |= unix.MFD_EXEC
	}
	fd, err := unix.MemfdCreate(name, flags)
	if errors.Is(err, unix.EINVAL) { // a kernel before 6.3 does not know the flag and needs none
		fd, err = unix.MemfdCreate(name, flags&^unix.MFD_EXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (l *lane) close() {
	l.socket.Close()
	if l.memory != nil {
		_ = unix.Munmap(l.memory) // it is ours
		l.memory = nil
	}
}

// errLeft says that the caller went away while the worker computes; the lane is not free yet.
var errLeft = errors.New("left")

// call computes one request.
func (l *lane) call(ctx context.Context, in, out []tensor.Tensor, limit time.Duration) error {
	const op = "onnx.Run"
	l.seq++
	msg, end := request(l.msg, l.seq, in)
	if end > len(l.memory) {
		return errs.Errorf(op, errs.TooLarge, "the request has %v of tensors, %v are the most for one: send fewer rows", units.Bytes(end), units.Bytes(len(l.memory)))
	}
	if len(msg) > mostMessage {
		return errs.Errorf(op, errs.TooLarge, "the request has too many tensors")
	}
	at := 0
	for i := range in {
		at = up(at)
		n := in[i].Packed()
		place(l.memory[at:at+n], &in[i])
		at += n
	}
	if _, err := l.socket.Write(msg); err != nil {
		return l.broken(op, err)
	}
	if err := l.await(ctx, limit); err != nil {
		return err
	}
	return l.take(out, end)
}

// await reads the answer into msg.
func (l *lane) await(ctx context.Context, limit time.Duration) error {
	const op = "onnx.Run"
	l.socket.SetReadDeadline(time.Now().Add(limit)) //nolint:errcheck // a socket of our own takes deadlines
	var fired chan struct{}
	stop := func() bool { return true }
	if ctx.Done() != nil {
		fired = make(chan struct{})
		stop = context.AfterFunc(ctx, func() {
			l.socket.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a socket of our own takes deadlines
			close(fired)
		})
	}
	n, err := l.socket.Read(l.msg[:mostMessage])
	if !stop() {
		<-fired
	}
	switch {
	case err == nil:
		l.msg = l.msg[:n]
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return errLeft
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.p.kill(fmt.Sprintf("it did not answer within %v", limit))
		return errs.Errorf(op, errs.Timeout, "the model did not answer within %v; its process was ended and is started anew", limit)
	}
	return l.broken(op, err)
}

// broken waits until the process has ended, and says why.
func (l *lane) broken(op string, err error) error {
	select {
	case <-l.p.done:
	case <-time.After(endTime):
		l.p.kill(fmt.Sprintf("it closed its socket: %v", err))
		<-l.p.done
	}
	return errs.Errorf(op, errs.Other, "the model's process ended while it computed this request: %s; it is started anew", l.p.why)
}

// settle waits for the answer to a request that nobody waits for; false when the process had to be ended.
func (l *lane) settle(grace time.Duration) bool {
	l.p.leave(l.index, l.seq)
	l.socket.SetReadDeadline(time.Now().Add(grace)) //nolint:errcheck // a socket of our own takes deadlines
	_, err := l.socket.Read(l.msg[:mostMessage])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.p.kill(fmt.Sprintf("it did not leave a canceled request within %v", grace))
	}
	return err == nil
}

// take reads the answer in msg. end is where the inputs end.
func (l *lane) take(out []tensor.Tensor, end int) error {
	const op = "onnx.Run"
	d := decoder{b: l.msg}
	seq, status, n := d.u64(), d.u32(), d.u32()
	switch {
	case d.bad || seq != l.seq || status == statusOK && int(n) != len(out):
		l.p.kill("it answered another request than it was asked")
		return errs.Errorf(op, errs.Other, "the model's process answered something else than was asked; it is started anew")
	case status != statusOK:
		return l.refusal(status, string(d.b))
	}
	last, err := d.answered(l.memory, out)
	if err != nil {
		l.p.kill("its answer makes no sense")
		return errs.Errorf(op, errs.Other, "the model's process gave an answer that makes no sense (%w); it is started anew", err)
	}
	if end = max(end, last); end > kept {
		_ = unix.Madvise(l.memory[kept:(end+4095)&^4095], unix.MADV_REMOVE) // only to give memory back
	}
	return nil
}

// refusal is the error that an answer carries.
func (l *lane) refusal(status uint32, text string) error {
	const op = "onnx.Run"
	switch status {
	case statusInvalid:
		return errs.Errorf(op, errs.Invalid, "the model refuses the request: %s", text)
	case statusUnsupported:
		return errs.Errorf(op, errs.Unsupported, "the model's answer cannot be served: %s", text)
	case statusNoRoom:
		need, _ := strconv.Atoi(text)
		return errs.Errorf(op, errs.TooLarge, "request and answer take %v, %v are the most for one: send fewer rows", units.Bytes(need), units.Bytes(len(l.memory)))
	case statusNoMemory:
		return errs.Errorf(op, errs.Exhausted, "the model needs more memory for this request than it may have: send fewer rows, or raise serve-memory")
	}
	return errs.Errorf(op, errs.Other, "the model failed: %s", text)
}
