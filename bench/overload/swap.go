package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/nn"
)

// asked is a request with the answers of both versions.
type asked struct {
	text []byte
	want [2][]float32
}

// span is a request that was answered, from the beginning.
type span struct{ from, to time.Duration }

// swap is one round of the second part: networks of two hidden layers of that width.
func swap(ctx context.Context, c config, dir string, width int, progress io.Writer) (map[string]float64, error) {
	const inputs = 784
	var paths []string
	var predictors []*nn.Predictor
	for v := range 2 {
		path := filepath.Join(dir, fmt.Sprintf("v%d-%d.h5", v+1, width))
		net, err := network(path, uint64(10+v), inputs, width)
		if err != nil {
			return nil, err
		}
		p, err := nn.NewPredictor(net, 1)
		if err != nil {
			return nil, err
		}
		paths, predictors = append(paths, path), append(predictors, p)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	questions := make([]asked, 64)
	for i := range questions {
		rows := randomRows(rng, 1, inputs)
		questions[i].text = request(rows)
		for v, p := range predictors {
			questions[i].want[v] = make([]float32, 10)
			if err := p.Predict(questions[i].want[v], rows[0], 1); err != nil {
				return nil, err
			}
		}
	}
	s, err := start(ctx, c, dir, 0, paths...)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	return swapped(ctx, c, s, questions, progress)
}

// swapped asks in phases, every other one with swaps one after the other. What disturbs the machine disturbs both alike.
func swapped(ctx context.Context, c config, s *server, questions []asked, progress io.Writer) (map[string]float64, error) {
	const phase, pause = 2 * time.Second, 50 * time.Millisecond
	spans, faults := make([][]span, c.clients), make([]error, c.clients)
	seen := make([][2]int, c.clients)
	if c.profile != "" {
		if _, err := s.control(ctx, "profile"); err != nil {
			return nil, err
		}
		defer func() { _, _ = s.control(ctx, "profile?end=1") }()
	}
	begin := time.Now()
	length := time.Duration(c.phases) * 2 * phase
	var all sync.WaitGroup
	for n := range c.clients {
		all.Go(func() {
			spans[n], seen[n], faults[n] = drive(ctx, s.Addr, questions, n, begin, length)
		})
	}
	swapping := func(at time.Duration) bool { return at/phase%2 == 1 }
	var swaps []time.Duration
	var ran, waited [2]time.Duration // without and with swaps
	r0, w0 := s.spent()
	for at := time.Duration(0); at < length; at = time.Since(begin) {
		time.Sleep(pause)
		r, w := s.spent()
		k := 0
		if swapping(at) {
			k = 1
		}
		ran[k], waited[k], r0, w0 = ran[k]+r-r0, waited[k]+w-w0, r, w
		if !swapping(time.Since(begin)) || !swapping(at+pause) {
			continue
		}
		from := time.Now()
		if _, err := s.control(ctx, fmt.Sprintf("deploy?version=%d", 2-len(swaps)%2)); err != nil {
			return nil, err
		}
		swaps = append(swaps, time.Since(from))
	}
	all.Wait()
	var with, without []time.Duration
	answers := [2]int{}
	for n := range c.clients {
		if faults[n] != nil {
			return nil, faults[n]
		}
		answers[0], answers[1] = answers[0]+seen[n][0], answers[1]+seen[n][1]
		for _, r := range spans[n] {
			switch {
			case r.from < phase/4: // warming up
			case swapping(r.from) || swapping(r.to):
				with = append(with, r.to-r.from)
			default:
				without = append(without, r.to-r.from)
			}
		}
	}
	out := map[string]float64{
		"requests count": float64(answers[0] + answers[1]), "failed count": 0, "mixed count": 0, "swaps count": float64(len(swaps)),
		"of_the_first_version share": float64(answers[0]) / float64(answers[0]+answers[1]), "deploy_p50 ms": at(swaps, 0.5),
		"p50 ms": at(without, 0.5), "p99 ms": at(without, 0.99), "p50_swapping ms": at(with, 0.5), "p99_swapping ms": at(with, 0.99),
		"p99_of_normal ×": at(with, 0.99) / at(without, 0.99), "throughput_of_normal ×": float64(len(with)) / float64(len(without)) * 7 / 8,
	}
	fmt.Fprintf(progress, "the server ran %v and waited %v without swaps, %v and %v with them: %v and %v a request\n",
		ran[0].Round(time.Millisecond), waited[0].Round(time.Millisecond), ran[1].Round(time.Millisecond), waited[1].Round(time.Millisecond),
		ran[0]/time.Duration(max(1, len(without)*8/7)), ran[1]/time.Duration(max(1, len(with))))
	fmt.Fprintf(progress, "%d answers (%d, %d), %d swaps of %.1f ms: p99 %.2f ms with, %.2f ms without them; p50 %.2f and %.2f\n",
		answers[0]+answers[1], answers[0], answers[1], len(swaps), out["deploy_p50 ms"], out["p99_swapping ms"], out["p99 ms"], out["p50_swapping ms"], out["p50 ms"])
	return out, ctx.Err()
}

// at is a percentile in milliseconds.
func at(all []time.Duration, p float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[int(p*float64(len(all)-1))].Microseconds()) / 1000
}

// drive is one client; an answer that is neither version's is an error.
func drive(ctx context.Context, addr string, questions []asked, n int, begin time.Time, length time.Duration) (spans []span, seen [2]int, err error) {
	c, err := dial(addr)
	if err != nil {
		return nil, seen, err
	}
	defer c.conn.Close()
	for i := n * 5; ctx.Err() == nil; i++ {
		from := time.Since(begin)
		if from > length {
			break
		}
		q := &questions[i%len(questions)]
		status, _, err := c.ask(q.text, time.Now().Add(10*time.Second))
		if err != nil || status != http.StatusOK {
			return nil, seen, fmt.Errorf("a request failed: %d %s: %w", status, c.body.Bytes(), err)
		}
		spans = append(spans, span{from, time.Since(begin)})
		var v struct{ Predictions [][]float32 }
		if err := json.Unmarshal(c.body.Bytes(), &v); err != nil {
			return nil, seen, err
		}
		which := -1
		for k := range q.want {
			if near(v.Predictions[0], q.want[k]) {
				which = k
			}
		}
		if which < 0 {
			return nil, seen, fmt.Errorf("%v is neither version's answer: %v, %v", v.Predictions[0], q.want[0], q.want[1])
		}
		seen[which]++
	}
	return spans, seen, nil
}

func near(a, b []float32) bool {
	for i := range b {
		if len(a) != len(b) || math.Abs(float64(a[i]-b[i])) > 1e-5 {
			return false
		}
	}
	return true
}
