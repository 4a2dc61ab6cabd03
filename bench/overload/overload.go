package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"time"
)

// tally is what a phase came to.
type tally struct {
	good, shed, late, told int
	sheds                  []time.Duration
	rate                   float64 // good ones a second
}

func count(samples []sample, deadline, length time.Duration) (t tally) {
	for _, s := range samples {
		switch {
		case s.status == http.StatusOK && s.took <= deadline:
			t.good++
		case s.status == http.StatusTooManyRequests || s.status == http.StatusServiceUnavailable:
			t.shed++
			t.sheds = append(t.sheds, s.took)
			if s.told {
				t.told++
			}
		default:
			t.late++
		}
	}
	slices.Sort(t.sheds)
	t.rate = float64(t.good) / length.Seconds()
	return t
}

// overload is one round of the first part.
func overload(ctx context.Context, c config, dir string, progress io.Writer) (map[string]float64, error) {
	const inputs = 32
	file := filepath.Join(dir, "heavy.h5")
	if _, err := network(file, 1, inputs, c.width); err != nil {
		return nil, err
	}
	s, err := start(ctx, c, dir, c.slo, file)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	rng := rand.New(rand.NewPCG(1, 2))
	requests := make([][]byte, 64)
	for i := range requests {
		requests[i] = request(randomRows(rng, c.rows, inputs))
	}
	able, err := capacity(ctx, s.Addr, requests, 16, c.length/2)
	if err != nil {
		return nil, err
	}
	l := &openLoop{addr: s.Addr, requests: requests, deadline: c.deadline}
	defer l.close()
	offer := func(times float64) (samples []sample, ran time.Duration, err error) {
		before, _ := s.spent()
		samples, err = l.run(ctx, rng, able*times, c.length)
		after, _ := s.spent()
		return samples, after - before, err
	}
	out := map[string]float64{"capacity 1/s": able}
	peak, share := 0.0, 0.0
	for _, times := range []float64{0.8, 0.9, 1, 1.1} {
		samples, ran, err := offer(times)
		if err != nil {
			return nil, err
		}
		t := count(samples, c.deadline, c.length)
		each := float64(t.good) / ran.Seconds()
		fmt.Fprintf(progress, "%.1f × %.0f/s: %.0f/s in time, %d refused, %d late; %.2f s of the processor, %.0f in time for each\n",
			times, able, t.rate, t.shed, t.late, ran.Seconds(), each)
		peak, share = max(peak, t.rate), max(share, each)
	}
	before := s.status("VmRSS")
	if c.profile != "" {
		if _, err := s.control(ctx, "profile"); err != nil {
			return nil, err
		}
	}
	samples, ran, err := offer(c.times)
	if err != nil {
		return nil, err
	}
	if c.profile != "" {
		if _, err := s.control(ctx, "profile?end=1"); err != nil {
			return nil, err
		}
	}
	over := count(samples, c.deadline, c.length)
	after := s.status("VmHWM")
	samples, _, err = offer(0.8)
	if err != nil {
		return nil, err
	}
	back := recovery(samples, c.deadline)
	queue, err := s.control(ctx, "queue")
	if err != nil {
		return nil, err
	}
	each := float64(over.good) / ran.Seconds()
	fmt.Fprintf(progress, "%.2f s of the processor, %.0f in time for each, %.3f of the best before\n", ran.Seconds(), each, each/share)
	fmt.Fprintf(progress, "%.0f ×: %.0f/s in time (%.3f of the peak of %.0f), %d refused, %d late; %.0f MiB, before %.0f; back after %v\n%s",
		c.times, over.rate, over.rate/peak, peak, over.shed, over.late, after, before, back, queue)
	out["peak_goodput 1/s"] = peak
	out["goodput_at_overload 1/s"] = over.rate
	out["goodput_of_peak share"] = over.rate / peak
	out["goodput_by_processor_time_of_peak share"] = each / share
	out["late_at_overload share"] = float64(over.late) / float64(max(1, over.good+over.shed+over.late))
	out["memory_before MiB"], out["memory_highest MiB"] = before, after
	out["recovery s"] = back.Seconds()
	if n := len(over.sheds); n > 0 {
		out["refused_p50 ms"] = float64(over.sheds[n/2].Microseconds()) / 1000
		out["refused_p99 ms"] = float64(over.sheds[n*99/100].Microseconds()) / 1000
		out["refused_with_retry_after share"] = float64(over.told) / float64(n)
	}
	return out, nil
}

// recovery is when the first second begins in which 95 % are answered in time.
func recovery(samples []sample, deadline time.Duration) time.Duration {
	const step, window = 100 * time.Millisecond, time.Second
	last := time.Duration(0)
	for _, s := range samples {
		last = max(last, s.due)
	}
	for from := time.Duration(0); from+window <= last; from += step {
		good, all := 0, 0
		for _, s := range samples {
			if s.due >= from && s.due < from+window {
				all++
				if s.status == http.StatusOK && s.took <= deadline {
					good++
				}
			}
		}
		if all > 0 && float64(good) >= 0.95*float64(all) {
			return from
		}
	}
	return last
}
