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

// swapped asks and swaps.
func swapped(ctx context.Context, c config, s *server, questions []asked, progress io.Writer) (map[string]float64, error) {
	const gap = 400 * time.Millisecond
	spans, faults := make([][]span, c.clients), make([]error, c.clients)
	seen := make([][2]int, c.clients)
	begin := time.Now()
	length := time.Duration(c.swaps) * 2 * gap
	var all sync.WaitGroup
	for n := range c.clients {
		all.Go(func() {
			spans[n], seen[n], faults[n] = drive(ctx, s.Addr, questions, n, begin, length)
		})
	}
	var swaps []span
	for k := range c.swaps {
		time.Sleep(gap)
		from := time.Since(begin)
		if _, err := s.control(ctx, fmt.Sprintf("deploy?version=%d", 2-k%2)); err != nil {
			return nil, err
		}
		swaps = append(swaps, span{from, time.Since(begin) + 50*time.Millisecond}) // the old one is freed a little later
	}
	all.Wait()
	var during, normal, lasted []time.Duration
	answers := [2]int{}
	for n := range c.clients {
		if faults[n] != nil {
			return nil, faults[n]
		}
		answers[0], answers[1] = answers[0]+seen[n][0], answers[1]+seen[n][1]
		for _, r := range spans[n] {
			if r.from < gap/2 {
				continue // warming up
			}
			if slices.ContainsFunc(swaps, func(w span) bool { return r.from < w.to && r.to > w.from }) {
				during = append(during, r.to-r.from)
			} else {
				normal = append(normal, r.to-r.from)
			}
		}
	}
	for _, w := range swaps {
		lasted = append(lasted, w.to-w.from-50*time.Millisecond)
	}
	ms := func(all []time.Duration, p float64) float64 {
		slices.Sort(all)
		if len(all) == 0 {
			return 0
		}
		return float64(all[int(p*float64(len(all)-1))].Microseconds()) / 1000
	}
	out := map[string]float64{
		"requests count": float64(answers[0] + answers[1]), "failed count": 0, "mixed count": 0,
		"of_the_first_version share": float64(answers[0]) / float64(answers[0]+answers[1]), "deploy_p50 ms": ms(lasted, 0.5),
		"normal_p50 ms": ms(normal, 0.5), "normal_p99 ms": ms(normal, 0.99), "swap_p50 ms": ms(during, 0.5), "swap_p99 ms": ms(during, 0.99),
		"swap_p99_of_normal ×": ms(during, 0.99) / ms(normal, 0.99), "requests_during_swaps count": float64(len(during)),
	}
	fmt.Fprintf(progress, "swap: %d answers (%d, %d), %d during %d swaps of %.1f ms: p99 %.2f ms, else %.2f ms\n",
		answers[0]+answers[1], answers[0], answers[1], len(during), c.swaps, out["deploy_p50 ms"], out["swap_p99 ms"], out["normal_p99 ms"])
	return out, ctx.Err()
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
