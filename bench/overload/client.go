package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// client is one connection.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	body bytes.Buffer
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 4<<10)}, nil
}

// ask sends a whole request and reads the status and the answer, which stays valid until the next.
func (c *client) ask(request []byte, until time.Time) (status int, retry string, err error) {
	if err := c.conn.SetDeadline(until); err != nil {
		return 0, "", err
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	c.body.Reset()
	_, err = io.Copy(&c.body, resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After"), err
}

// request is the bytes of a request for rows.
func request(rows [][]float32) []byte {
	var b strings.Builder
	b.WriteString(`{"instances": [`)
	for i, row := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('[')
		for j, v := range row {
			if j > 0 {
				b.WriteString(", ")
			}
			b.WriteString(strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		b.WriteByte(']')
	}
	b.WriteString("]}")
	return fmt.Appendf(nil, "POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
}

func randomRows(rng *rand.Rand, rows, inputs int) [][]float32 {
	out := make([][]float32, rows)
	for i := range out {
		out[i] = make([]float32, inputs)
		for j := range out[i] {
			out[i][j] = float32(rng.IntN(256)) / 255
		}
	}
	return out
}

// sample is one request of an open loop.
type sample struct {
	due    time.Duration // from the beginning
	took   time.Duration
	status int // 0: no answer within the deadline
	told   bool
}

// openLoop sends requests at random moments, whether or not earlier ones were answered.
type openLoop struct {
	addr     string
	requests [][]byte
	deadline time.Duration

	mu      sync.Mutex
	idle    []*client
	samples []sample
	fault   error
}

func (l *openLoop) take() (*client, error) {
	l.mu.Lock()
	if k := len(l.idle); k > 0 {
		c := l.idle[k-1]
		l.idle = l.idle[:k-1]
		l.mu.Unlock()
		return c, nil
	}
	l.mu.Unlock()
	return dial(l.addr)
}

func (l *openLoop) note(s sample, c *client, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
	if c != nil {
		l.idle = append(l.idle, c)
	}
	if err != nil && l.fault == nil {
		l.fault = err
	}
}

// run offers so many requests a second for a while.
func (l *openLoop) run(ctx context.Context, rng *rand.Rand, rate float64, length time.Duration) ([]sample, error) {
	l.samples = nil
	start := time.Now()
	var all sync.WaitGroup
	for at := 0.0; ctx.Err() == nil; at += rng.ExpFloat64() / rate {
		due := time.Duration(at * float64(time.Second))
		if due > length {
			break
		}
		if ahead := due - time.Since(start); ahead > 200*time.Microsecond {
			time.Sleep(ahead)
		}
		text := l.requests[rng.IntN(len(l.requests))]
		all.Go(func() { l.one(start, due, text) })
	}
	all.Wait()
	if l.fault != nil {
		return nil, l.fault
	}
	return l.samples, ctx.Err()
}

func (l *openLoop) one(start time.Time, due time.Duration, text []byte) {
	until := start.Add(due + l.deadline)
	s := sample{due: due}
	c, err := l.take()
	if err != nil {
		l.note(s, nil, err)
		return
	}
	status, retry, err := c.ask(text, until)
	s.took = time.Since(start) - due
	if err != nil { // the client gives up at its deadline
		c.conn.Close()
		l.note(s, nil, nil)
		return
	}
	s.status, s.told = status, retry != ""
	if status != http.StatusOK && status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		err = fmt.Errorf("status %d: %s", status, c.body.Bytes())
	}
	l.note(s, c, err)
}

// close lets the connections go.
func (l *openLoop) close() {
	for _, c := range l.idle {
		c.conn.Close()
	}
}

// capacity is how many requests a second clients get that wait for their answers.
func capacity(ctx context.Context, addr string, requests [][]byte, clients int, length time.Duration) (float64, error) {
	counts, faults := make([]int, clients), make([]error, clients)
	start := time.Now()
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			c, err := dial(addr)
			if err != nil {
				faults[n] = err
				return
			}
			defer c.conn.Close()
			for i := n; time.Since(start) < length && ctx.Err() == nil; i++ {
				status, _, err := c.ask(requests[i%len(requests)], time.Now().Add(time.Minute))
				if err != nil {
					faults[n] = err
					return
				}
				if status == http.StatusOK {
					counts[n]++
				}
			}
		})
	}
	all.Wait()
	sum := 0
	for n := range clients {
		if faults[n] != nil {
			return 0, faults[n]
		}
		sum += counts[n]
	}
	return float64(sum) / time.Since(start).Seconds(), ctx.Err()
}
