package rpc

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestThePoolCountsWhatIsOut(t *testing.T) {
	m := &memory{limit: 1}
	var out []*[]byte
	total := int64(0)
	for _, n := range []int{1, 4096, 4097, 16 << 10, 1<<20 + 1, 65 << 20} {
		b := m.Get(n)
		if len(*b) != n {
			t.Fatalf("%d bytes, want %d", len(*b), n)
		}
		*b = (*b)[:n/2] // as a padded frame is cut
		out = append(out, b)
		if i := tier(n); i < len(tiers) {
			n = tiers[i]
		}
		total += int64(n)
		if m.held.Load() != total {
			t.Fatalf("%d are held, want %d", m.held.Load(), total)
		}
	}
	for _, b := range out {
		m.Put(b)
	}
	if m.held.Load() != 0 {
		t.Errorf("%d are held", m.held.Load())
	}
}

func TestWhatIsNeverPutBackIsNotCountedForEver(t *testing.T) {
	m := &memory{limit: 1}
	for range 10 {
		(*m.Get(100 << 10))[0] = 1
	}
	for m.held.Load() != 0 { // the test's own timeout ends it
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func TestAConnectionWaitsWhileTooMuchIsHeldAndIsClosedAtLast(t *testing.T) {
	m := &memory{limit: 100}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := &gated{near, gate{insecure.NewCredentials(), m, 10 * time.Millisecond}}
	go far.Write([]byte("x"))
	m.held.Store(201)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errHeld) {
		t.Errorf("%v", err)
	}
	time.AfterFunc(time.Millisecond, func() { m.held.Store(200) })
	c.gate.patience = time.Hour
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

func TestCallsAreRefusedWhileMessagesHoldTheirLimit(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	anyone := func(context.Context, string, string, string) (string, error) { return "", nil }
	g := New(Options{Authorize: anyone, MessageLimit: 1 << 20, InFlight: 100 << 10}, func(g grpc.ServiceRegistrar, _ Allow) {
		g.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Service", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
			Method("test.Service", "Hold", func(context.Context, []byte) (any, error) {
				begun <- struct{}{}
				<-end
				return &wrapperspb.BytesValue{}, nil
			}),
		}}, nil)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	defer func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hold := func() error {
		return conn.Invoke(t.Context(), "/test.Service/Hold", &wrapperspb.BytesValue{Value: make([]byte, 120<<10)}, &wrapperspb.BytesValue{})
	}
	first := make(chan error, 1)
	go func() { first <- hold() }()
	<-begun
	if err := hold(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
	end <- struct{}{}
	if err := <-first; err != nil {
		t.Error(err)
	}
	go func() {
		<-begun
		end <- struct{}{}
	}()
	for err := hold(); err != nil; err = hold() { // the first gives its memory back after it has answered
		if status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
	}
}
