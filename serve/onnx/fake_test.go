//go:build linux

package onnx_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/serve/onnx"
)

// TestMain is also the worker that the tests' runtimes start: this binary again, which speaks the worker's protocol and
// does to each request what its first number says.
func TestMain(m *testing.M) {
	if how := os.Getenv("FAKE_WORKER"); how != "" {
		fake(how)
		os.Exit(0)
	}
	if os.Getenv("FAKE_SERVER") != "" {
		fakeServer()
	}
	os.Exit(m.Run())
}

// What the first number of a request asks of the fake worker. Anything else is answered with the inputs, in their order.
const (
	crash = 1000 + iota
	killed
	hang
	slow // until it is told to leave it
	nonsense
	outside
	mismatch
	other
	refuse
	noRoom
	noMemory
)

type message []byte

func (m message) u32(v uint32) message { return binary.NativeEndian.AppendUint32(m, v) }
func (m message) u64(v uint64) message { return binary.NativeEndian.AppendUint64(m, v) }
func (m message) text(s string) message {
	return append(m.u32(uint32(len(s))), s...)
}

// fakeServer serves a model until it is killed.
func fakeServer() {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	rt := onnx.New(onnx.Options{Library: exe, Lanes: 1, Region: 1 << 20})
	rt.Fake(time.Millisecond, exe, "FAKE_WORKER=well")
	m, err := rt.Open(context.Background(), bytes.NewReader(small()), int64(len(small())))
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Pid())
	select {}
}

// greet describes a model of one input of each of some types, and outputs that are the same.
func greet() message {
	m := message{}.text("9.9.9").text("nothing")
	m = m.u32(3).u32(3)
	for range 2 {
		m = m.text("x").u32(1).u32(2).u64(math.MaxUint64).text("n").u64(math.MaxUint64).text("")
		m = m.text("ids").u32(7).u32(1).u64(math.MaxUint64).text("n")
		m = m.text("words").u32(8).u32(1).u64(math.MaxUint64).text("n")
	}
	return m
}

func fake(how string) {
	if how == "load-crash" {
		fmt.Fprintln(os.Stderr, "terminate called after throwing")
		os.Exit(134)
	}
	if how == "load-hang" {
		time.Sleep(time.Hour)
	}
	var lanes, region int
	if len(os.Args) == 6 {
		lanes, _ = strconv.Atoi(os.Args[2])
		region, _ = strconv.Atoi(os.Args[4])
	}
	left := make([]chan struct{}, lanes)
	var all sync.WaitGroup
	for i := range lanes {
		left[i] = make(chan struct{}, 1)
		memory, err := unix.Mmap(6+2*i, 0, region, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			panic(err)
		}
		all.Go(func() { serveLane(5+2*i, memory, left[i]) })
	}
	kind, said := uint32(1), greet()
	switch how {
	case "load-fail":
		kind, said = 2, message("Foo is not a registered function/op")
	case "load-library":
		kind, said = 3, message("no such file")
	case "load-nonsense":
		said = said[:20]
	}
	hello := message{}.u32(kind).u32(uint32(len(said)))
	_, _ = unix.Write(3, append(hello, said...))
	for {
		var b [16]byte
		if n, _ := unix.Read(3, b[:]); n != len(b) {
			return
		}
		left[binary.NativeEndian.Uint32(b[:])] <- struct{}{}
	}
}

func serveLane(socket int, memory []byte, left chan struct{}) {
	b := make([]byte, 64<<10)
	for {
		n, err := unix.Read(socket, b)
		if err != nil || n == 0 {
			return
		}
		seq := message{}.u64(binary.NativeEndian.Uint64(b))
		first := float32(0)
		if at := binary.NativeEndian.Uint64(b[24:]); binary.NativeEndian.Uint64(b[32:]) >= 4 {
			first = math.Float32frombits(binary.NativeEndian.Uint32(memory[at:]))
		}
		// The tensors of the answer are those of the request: they lie where they lay.
		answer := append(seq.u32(0).u32(3), b[16:n]...)
		switch int(first) {
		case crash:
			fmt.Fprintln(os.Stderr, "a kernel fell over")
			os.Exit(3)
		case killed:
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Hour)
		case hang:
			time.Sleep(time.Hour)
		case slow:
			<-left
			answer = append(seq.u32(5).u32(0), "left"...)
		case nonsense:
			answer = answer[:30]
		case outside:
			binary.NativeEndian.PutUint64(answer[24:], uint64(len(memory)))
		case mismatch:
			binary.NativeEndian.PutUint64(answer[40:], 1<<20)
		case other:
			binary.NativeEndian.PutUint64(answer, 7777)
		case refuse:
			answer = append(seq.u32(1).u32(0), "Got invalid dimensions"...)
		case noRoom:
			answer = append(seq.u32(3).u32(0), "123456789"...)
		case noMemory:
			answer = append(seq.u32(4).u32(0), "bad_alloc"...)
		}
		if _, err := unix.Write(socket, answer); err != nil {
			return
		}
	}
}
