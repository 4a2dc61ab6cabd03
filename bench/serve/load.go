package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// result is what one round measured.
type result struct {
	cpu      float64 // of the server, ms a request
	rate     float64
	p50, p99 float64 // ms
}

func (r result) String() string {
	return fmt.Sprintf("%.4f ms CPU a request, %.0f/s, p50 %.2f ms, p99 %.2f ms", r.cpu, r.rate, r.p50, r.p99)
}

// client is one connection that asks and waits, as a program with a keep-alive connection does.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	body bytes.Buffer
}

// asker is a client of any protocol.
type asker interface {
	ask(request []byte) (answer []byte, err error)
	Close() error
}

func (c *client) Close() error { return c.conn.Close() }

// dial gives a new client of the system.
func (s *system) dial() (asker, error) {
	if s.open != nil {
		return s.open()
	}
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

// ask sends a whole request and reads the answer, which stays valid until the next.
func (c *client) ask(request []byte) ([]byte, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	c.body.Reset()
	if _, err := io.Copy(&c.body, resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, c.body.Bytes())
	}
	return c.body.Bytes(), nil
}

// post builds the bytes of a request.
func post(path, header, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", path, header, len(body), body)
}

// verify compares all answers of a system with those of nn.Predictor in this process.
func verify(s *system, w *work) (far, right float64, err error) {
	c, err := s.dial()
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	for i, image := range w.images {
		body, err := c.ask(s.request(image))
		if err != nil {
			return 0, 0, err
		}
		if s.answer == nil {
			continue
		}
		y, err := s.answer(body)
		if err != nil || len(y) != len(w.want[i]) {
			return 0, 0, fmt.Errorf("image %d is answered with %s: %w", i, body, err)
		}
		for j, v := range y {
			far = max(far, math.Abs(float64(v-w.want[i][j])))
		}
		if slices.Index(y, slices.Max(y)) == int(w.labels[i]) {
			right += 1 / float64(len(w.images))
		}
	}
	if far > 1e-5 {
		return far, right, fmt.Errorf("answers differ from the network's by %v", far)
	}
	return far, right, nil
}

// equal compares two answers. Joined rows are added up in another order, hence the room.
func equal(got, want []float32) error {
	for j, v := range want {
		if len(got) != len(want) || math.Abs(float64(got[j]-v)) > 1e-5 {
			return fmt.Errorf("under load %v is answered, %v is right", got, want)
		}
	}
	return nil
}

// load asks for a while with many clients and measures.
func load(ctx context.Context, s *system, w *work, clients int, length time.Duration) (result, error) {
	requests := make([][]byte, len(w.images))
	for i, image := range w.images {
		requests[i] = s.request(image)
	}
	taken := make([][]time.Duration, clients)
	faults := make([]error, clients)
	before, err := cpuOf(s.pid)
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() { taken[n], faults[n] = drive(ctx, s, w, requests, n, start.Add(length)) })
	}
	all.Wait()
	wall := time.Since(start)
	after, err := cpuOf(s.pid)
	if err != nil {
		return result{}, err
	}
	for _, err := range faults {
		if err != nil {
			return result{}, err
		}
	}
	times := slices.Concat(taken...)
	if len(times) == 0 {
		return result{}, fmt.Errorf("no request was answered")
	}
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return result{
		cpu: ms(after-before) / float64(len(times)), rate: float64(len(times)) / wall.Seconds(),
		p50: ms(times[len(times)/2]), p99: ms(times[len(times)*99/100]),
	}, nil
}

// checkEvery is which share of the answers is compared under load too.
const checkEvery = 8

// drive is one client. Each begins at another image, so that no two ask the same at once.
func drive(ctx context.Context, s *system, w *work, requests [][]byte, n int, until time.Time) ([]time.Duration, error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var taken []time.Duration
	for i := n * 7; ctx.Err() == nil; i++ {
		from := time.Now()
		if !from.Before(until) {
			break
		}
		body, err := c.ask(requests[i%len(requests)])
		if err != nil {
			return nil, err
		}
		taken = append(taken, time.Since(from))
		if s.answer == nil || i%checkEvery != 0 {
			continue
		}
		y, err := s.answer(body)
		if err == nil {
			err = equal(y, w.want[i%len(requests)])
		}
		if err != nil {
			return nil, err
		}
	}
	return taken, ctx.Err()
}
