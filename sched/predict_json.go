package sched

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// saved is a Predictor as JSON.
type saved struct {
	Kinds   map[string]map[int]float64 `json:"kinds"` // weight by bucket
	Streams map[string]savedStream     `json:"streams"`
	Alike   *likeness                  `json:"alike,omitempty"`
	Errors  Errors                     `json:"errors"`
}

type savedStream struct {
	Next  int        `json:"next"`
	Last  time.Time  `json:"last"`
	Sweep sweep      `json:"sweep"` // of the newest
	Alike *likeness  `json:"alike,omitempty"`
	Jobs  []savedJob `json:"jobs"` // that live, or are neighbours of those that live or come
}

type savedJob struct {
	ID    string        `json:"id,omitempty"` // of one that lives
	Place int           `json:"place"`
	Since time.Time     `json:"since"`
	Ran   time.Duration `json:"ran,omitempty"`
	Ended int           `json:"ended,omitempty"` // one more than the bucket
	Rare  int           `json:"rare,omitempty"`
	Sweep *sweep        `json:"sweep,omitempty"`
	First *Forecast     `json:"first,omitempty"`
}

// MarshalJSON writes all that was learned, the same bytes for the same knowledge.
func (p *Predictor) MarshalJSON() ([]byte, error) {
	s := saved{Kinds: map[string]map[int]float64{}, Streams: map[string]savedStream{}, Alike: &p.alike, Errors: p.errors}
	for key, k := range p.kinds {
		m := map[int]float64{}
		for i, n := range k.Runs {
			if n > 1e-6 {
				m[i] = n
			}
		}
		s.Kinds[key] = m
	}
	for key, st := range p.streams {
		out := savedStream{Next: st.next, Last: st.last, Sweep: *st.sweep, Alike: &st.alike}
		for _, k := range st.alive {
			count := *k.sweep
			out.Jobs = append(out.Jobs, savedJob{ID: k.id, Place: k.place, Since: k.since, Ran: k.ran, Rare: k.rare, Sweep: &count, First: &k.first})
		}
		for _, k := range st.spoke {
			if k.ended > 0 {
				out.Jobs = append(out.Jobs, savedJob{Place: k.place, Since: k.since, Ended: k.ended, Rare: k.rare})
			}
		}
		slices.SortFunc(out.Jobs, func(a, b savedJob) int { return cmp.Compare(a.Place, b.Place) })
		s.Streams[key] = out
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Predictor) UnmarshalJSON(raw []byte) error {
	const op = "sched.Predictor"
	var s saved
	if err := json.Unmarshal(raw, &s); err != nil {
		return errs.E(op, errs.Corrupt, err)
	}
	*p = *NewPredictor()
	p.errors, p.version = s.Errors, 1
	if s.Alike != nil {
		p.alike = *s.Alike
	}
	for key, m := range s.Kinds {
		k := &kind{}
		for i, n := range m {
			if i < 0 || i >= buckets || !(n >= 0) || math.IsInf(n, 0) {
				return errs.Errorf(op, errs.Corrupt, "the record of durations of %q has %v in bucket %d", key, n, i)
			}
			k.Runs[i] = n
		}
		p.kinds[key] = k
	}
	for _, key := range slices.Sorted(maps.Keys(s.Streams)) {
		if err := p.flows(key, s.Streams[key]); err != nil {
			return err
		}
	}
	for _, l := range p.likenesses() {
		for _, x := range l {
			if !(x.Pairs >= 0) || !(x.Alike >= 0) || !(x.Apart >= 0) || math.IsInf(x.Pairs+x.Alike+x.Apart, 0) {
				return errs.Errorf(op, errs.Corrupt, "the record of how alike neighbours are has %v", x)
			}
		}
	}
	return nil
}

func (p *Predictor) likenesses() []*likeness {
	out := []*likeness{&p.alike}
	for _, st := range p.streams {
		out = append(out, &st.alike)
	}
	return out
}

// flows reads one stream.
func (p *Predictor) flows(key string, in savedStream) error {
	const op = "sched.Predictor"
	newest := in.Sweep
	st := newStream(key)
	st.next, st.last, st.sweep = in.Next, in.Last, &newest
	if in.Alike != nil {
		st.alike = *in.Alike
	}
	sweeps := map[int]*sweep{newest.First: st.sweep}
	place := -1
	for _, j := range in.Jobs {
		if j.Place <= place || j.Place >= in.Next || j.Ended < 0 || j.Ended > buckets || j.Rare < 0 || j.Rare > rarest || j.Ended == 0 && (j.ID == "" || j.Sweep == nil || j.First == nil) || p.jobs[j.ID] != nil {
			return errs.Errorf(op, errs.Corrupt, "the record of what came lately of %q has job %q in place %d, which cannot be", key, j.ID, j.Place)
		}
		place = j.Place
		k := &known{id: j.ID, stream: st, place: j.Place, since: j.Since, ran: j.Ran, ended: j.Ended, rare: j.Rare, stirred: true}
		if j.Ended == 0 {
			if k.sweep = sweeps[j.Sweep.First]; k.sweep == nil {
				old := *j.Sweep
				k.sweep, sweeps[old.First] = &old, &old
			}
			k.first = *j.First
			st.alive = append(st.alive, k)
			p.jobs[j.ID] = k
		}
		if j.Ended > 0 || j.Ran > 0 {
			st.spoke = append(st.spoke, k)
		}
	}
	p.streams[key] = st
	return nil
}
