package queue

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Use is what a user holds, or has held, in a queue.
type Use struct {
	Queue  string `json:"queue"`
	User   string `json:"user,omitempty"`
	Amount Amount `json:"amount"`
}

// Past is what users held on average lately: at every moment what was held then, faded with the half-life since.
// It is data: kept with the records, and given to the line with the rest of the state.
type Past struct {
	At   time.Time     `json:"at,omitzero"`
	Half time.Duration `json:"half"` // half-life; 0 forgets at once
	Uses []Use         `json:"uses,omitempty"`
}

// Until carries the mean on to now, over a time in which `held` did not change. It does not change p. A clock that went
// back changes nothing.
func (p Past) Until(now time.Time, held []Use) Past {
	out := Past{At: now, Half: p.Half}
	if p.Half <= 0 {
		return out
	}
	span := now.Sub(p.At)
	switch {
	case p.At.IsZero():
		return out
	case span < 0:
		return p
	}
	keep := math.Exp2(-float64(span) / float64(p.Half))
	sum := map[[2]string]vector{}
	for _, u := range p.Uses {
		v := sum[[2]string{u.Queue, u.User}]
		v.add(u.Amount.vector(), keep)
		sum[[2]string{u.Queue, u.User}] = v
	}
	for _, u := range held {
		v := sum[[2]string{u.Queue, u.User}]
		v.add(u.Amount.vector(), 1-keep)
		sum[[2]string{u.Queue, u.User}] = v
	}
	for k, v := range sum {
		if a := v.amount(); a != (Amount{}) && !v.faded() {
			out.Uses = append(out.Uses, Use{Queue: k[0], User: k[1], Amount: a})
		}
	}
	slices.SortFunc(out.Uses, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.User, b.User))
	})
	return out
}

// faded says that so little is left that keeping it would only make the record long. It is far less than what one task adds
// in a second, for in a busy hall what is held changes as often, and all that is used comes in pieces so small.
func (v vector) faded() bool {
	return v[0] < 1e-9 && v[1] < 1 && v[2] < 1 && v[3] < 1e-9 && v[4] < 1 && v[5] < 1e-7
}
