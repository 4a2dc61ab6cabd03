package rpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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

// serveHeld serves one method, which waits for end after it has said that it has begun.
func serveHeld(t *testing.T, m *memory, begun, end chan struct{}) string {
	t.Helper()
	anyone := func(context.Context, string, string, string) (string, error) { return "", nil }
	g := build(Options{Authorize: anyone, MessageLimit: 1 << 20}, m, func(g grpc.ServiceRegistrar, _ Allow) {
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
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func TestCallsAreRefusedWhileMessagesHoldTheirLimit(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	m := &memory{limit: 100 << 10}
	conn, err := grpc.NewClient(serveHeld(t, m, begun, end), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hold := func(size int) error {
		return conn.Invoke(t.Context(), "/test.Service/Hold", &wrapperspb.BytesValue{Value: make([]byte, size)}, &wrapperspb.BytesValue{})
	}
	first := make(chan error, 1)
	go func() { first <- hold(120 << 10) }()
	<-begun
	if err := hold(1); status.Code(err) != codes.ResourceExhausted {
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
	for err := hold(1); err != nil; err = hold(1) { // the first gives its memory back after it has answered
		if status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
	}
	if err := hold(2 << 20); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("%v", err)
	}
}

func TestAMessageThatBreaksOffIsNotHeldForEver(t *testing.T) {
	m := &memory{limit: 1 << 20}
	conn, err := net.Dial("tcp", serveHeld(t, m, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var headers bytes.Buffer
	enc := hpack.NewEncoder(&headers)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/test.Service/Hold"}, {":authority", "localhost"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			t.Fatal(err)
		}
	}
	part := append([]byte{0, 0, 0, 0xff, 0xff}, make([]byte, 10_000)...) // of 65535 bytes
	f := http2.NewFramer(conn, conn)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(f.WriteSettings(), f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true}), f.WriteData(1, false, part))
	if err != nil {
		t.Fatal(err)
	}
	for m.held.Load() == 0 { // until it has arrived
		time.Sleep(time.Millisecond)
	}
	conn.Close()
	for m.held.Load() != 0 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}
