package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// cost is how long a replica works on a request of a language model: it reads the context at one speed and writes the
// answer at another.
type cost struct {
	context   float64 // tokens a second
	generated float64 // tokens a second
}

func (c cost) of(context, generated float64) time.Duration {
	return time.Duration((context/c.context + generated/c.generated) * float64(time.Second))
}

// azure reads the trace of Azure's code completion service.
func azure(dir string, c cost) ([]request, error) {
	path := filepath.Join(dir, "load", "AzureLLMInferenceTrace_code_2023.csv.gz")
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the trace is not there: %w; give the folder of the data sets with --data", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	rows := csv.NewReader(z)
	if _, err := rows.Read(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []request
	var first time.Time
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		at, err := time.Parse("2006-01-02 15:04:05.9999999", row[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		in, err1 := strconv.ParseFloat(row[1], 64)
		gen, err2 := strconv.ParseFloat(row[2], 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%s: %v is no row of numbers of tokens", path, row)
		}
		if first.IsZero() {
			first = at
		}
		out = append(out, request{at.Sub(first), c.of(in, gen)})
	}
}

// diurnal makes days of a service that people use: a Poisson process whose rate follows a day (least at 4:00, most at
// 16:00), times a slow log-normal wander, with a few bursts a day of up to three times the rate for some minutes. Work is
// log-normal.
func diurnal(seed uint64, days int, mean float64, work time.Duration) []request {
	rng := rand.New(rand.NewPCG(seed, 0x6469))
	var out []request
	wander, until, burst := 0.0, 0, 1.0
	for s := range days * 86400 {
		if s%60 == 0 {
			wander = 0.98*wander + 0.04*rng.NormFloat64()
			if s >= until {
				burst = 1
				if rng.Float64() < 5.0/1440 {
					burst, until = 1.5+1.5*rng.Float64(), s+60*(2+rng.IntN(8))
				}
			}
		}
		hour := float64(s%86400) / 3600
		rate := mean * (1 - 0.8*math.Cos(2*math.Pi*(hour-4)/24)) * math.Exp(wander) * burst
		for t := rng.ExpFloat64() / rate; t < 1; t += rng.ExpFloat64() / rate {
			sigma := 0.6
			w := math.Exp(sigma*rng.NormFloat64() - sigma*sigma/2)
			out = append(out, request{time.Duration((float64(s) + t) * float64(time.Second)), time.Duration(w * float64(work))})
		}
	}
	return out
}

// part is a trace from one moment to another, beginning at 0.
func part(all []request, from, to time.Duration) (out []request) {
	for _, r := range all {
		if r.at >= from && r.at < to {
			r.at -= from
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b request) int { return int(a.at - b.at) })
	return out
}
