// Package drift tells whether what a model is asked, and what it answers, is still distributed as it was when it was
// trained. It is pure: rows and moments go in, a report comes out.
//
// A row of a tensor becomes a few features (features.go): its numbers where they are few, else their mean, spread,
// extremes and the means of sixteen pieces; of an output also which number is the largest. A Reference holds the bins of
// each feature, cut at the tenths of what was seen in training, with a bin below and one above everything. A Watch counts
// rows of requests into the same bins over the last hour.
//
// Two measures have to agree before a feature counts as drifted, because each alone errs in its way: the population
// stability index PSI = Σ (a−e) ln(a/e), less what it would be by chance, (k−1)(1/n+1/m), must be above 0.1 (some) or
// 0.25 (drift), the limits in common use; and the Kolmogorov–Smirnov distance of the binned distributions must exceed
// what the same distribution would show with a probability of 1 % over all features together. The first says that it
// matters, the second that it is no accident. Rows of one request are alike more often than by chance, so a watch takes
// only a few of each.
//
//	ref, err := drift.Measure(inputs, outputs, rows, names)
//	w := drift.NewWatch(ref)
//	w.Add(now, call.In, call.Out, call.Rows)
//	w.Report(now).State
package drift

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Reference is how a model's data was distributed.
type Reference struct {
	Source  string    `json:"source"` // "training", "requests"
	Rows    int64     `json:"rows"`
	Inputs  []Feature `json:"inputs"`
	Outputs []Feature `json:"outputs"`
}

// Feature is one number of a row and how it was distributed.
type Feature struct {
	Name   string    `json:"name"`
	Edges  []float64 `json:"edges"`  // rising; bin i holds what is above edge i-1 and not above edge i
	Counts []int64   `json:"counts"` // one more than edges
}

// The limits of the stability index, and how many rows a report needs.
const (
	some    = 0.1
	much    = 0.25
	MinRows = 200
	chance  = 0.01
)

// State is what a report comes to.
type State string

// The states.
const (
	TooFew  State = "too_few" // rows
	Stable  State = "stable"
	Some    State = "some"
	Drifted State = "drift"
)

// Score is how far a feature has gone.
type Score struct {
	Name  string  `json:"name"`
	PSI   float64 `json:"psi"` // less what chance makes of it; at least 0
	KS    float64 `json:"ks"`
	Limit float64 `json:"ks_limit"`
	State State   `json:"state"`
}

// Report compares the rows of a watch with its reference.
type Report struct {
	State   State     `json:"state"`
	Rows    int64     `json:"rows"`
	Of      int64     `json:"of"` // rows of the reference
	Since   time.Time `json:"since,omitzero"`
	Source  string    `json:"source"`
	Inputs  Score     `json:"inputs"`             // the worst
	Outputs Score     `json:"outputs"`            // the worst
	Worst   []Score   `json:"features,omitempty"` // the worst few of all
}

// Read reads a reference and refuses what is none.
func Read(body []byte) (*Reference, error) {
	const op = "drift.Read"
	var r Reference
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, errs.Errorf(op, errs.Corrupt, "the reference does not parse: %v", err)
	}
	for _, f := range slices.Concat(r.Inputs, r.Outputs) {
		if len(f.Counts) != len(f.Edges)+1 || !slices.IsSorted(f.Edges) || slices.ContainsFunc(f.Counts, func(n int64) bool { return n < 0 }) {
			return nil, errs.Errorf(op, errs.Corrupt, "the feature %.80q of the reference has %d bins between %d edges", f.Name, len(f.Counts), len(f.Edges))
		}
	}
	return &r, nil
}

// worst is how many features a report names.
const worst = 8

// compare scores counts against a feature; limit is the distance that chance does not reach.
func compare(f Feature, counts []int64, limit float64) Score {
	var n, m float64
	for i := range f.Counts {
		n, m = n+float64(f.Counts[i]), m+float64(counts[i])
	}
	s := Score{Name: f.Name, Limit: limit, State: Stable}
	if n == 0 || m == 0 {
		return s
	}
	k := float64(len(f.Counts))
	before, now := 0.0, 0.0
	for i := range f.Counts {
		e, a := (float64(f.Counts[i])+0.5)/(n+k/2), (float64(counts[i])+0.5)/(m+k/2)
		s.PSI += (a - e) * math.Log(a/e)
		before, now = before+float64(f.Counts[i])/n, now+float64(counts[i])/m
		s.KS = max(s.KS, math.Abs(before-now))
	}
	s.PSI = max(0, s.PSI-(k-1)*(1/n+1/m))
	switch {
	case s.KS <= limit:
	case s.PSI > much:
		s.State = Drifted
	case s.PSI > some:
		s.State = Some
	}
	return s
}

// limit is the distance of two samples of one distribution that is exceeded with a probability of chance over that many
// features.
func limit(n, m float64, features int) float64 {
	return math.Sqrt(-math.Log(chance/float64(max(1, features))/2)/2) * math.Sqrt((n+m)/(n*m))
}

func (f Feature) bin(v float64) int {
	if math.IsNaN(v) {
		return len(f.Edges) // with what is beyond everything
	}
	return sort.SearchFloat64s(f.Edges, v)
}

// cut makes a feature of what was seen: a bin below all, one for each tenth, one above all.
func cut(name string, values []float64, classes int) Feature {
	f := Feature{Name: name}
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(values)
	switch {
	case classes > 0:
		for c := range min(classes, 100) - 1 {
			f.Edges = append(f.Edges, float64(c)+0.5)
		}
	case len(values) > 0:
		f.Edges = append(f.Edges, math.Nextafter(values[0], math.Inf(-1)))
		for tenth := 1; tenth <= 10; tenth++ {
			f.Edges = append(f.Edges, values[(len(values)-1)*tenth/10])
		}
		f.Edges = slices.Compact(f.Edges)
		f.Edges = slices.DeleteFunc(f.Edges, func(e float64) bool { return math.IsInf(e, 0) })
	}
	f.Counts = make([]int64, len(f.Edges)+1)
	for _, v := range values {
		f.Counts[f.bin(v)]++
	}
	return f
}

func byState(a, b Score) int {
	rank := map[State]int{Drifted: 2, Some: 1}
	return cmp.Or(cmp.Compare(rank[b.State], rank[a.State]), cmp.Compare(b.PSI, a.PSI), cmp.Compare(a.Name, b.Name))
}
