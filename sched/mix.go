package sched

import (
	"cmp"
	"slices"
	"strings"
)

// Mix is the work that a hall expects: which asks come, and how often. Fragmentation is what a node has left that the
// mix could not use, and a price is what using a node keeps from the mix. A mix may be given, or learned from what came.
type Mix []Weighted

// Weighted is an ask and how often it comes, in any unit.
type Weighted struct {
	Ask    Ask
	Weight float64
}

// MixOf counts asks.
func MixOf(asks []Ask) Mix {
	m := make(Mix, len(asks))
	for i, a := range asks {
		m[i] = Weighted{a, 1}
	}
	return m
}

// typicalPart is how much of the mix the typical shapes cover, and typicalMost how many these are at most: the rest are
// rare shapes that would cost time and say little (FGD, section 4.2, takes 95 % as well).
const (
	typicalPart = 0.95
	typicalMost = 512
)

// expected is a shape of the mix and its part of it.
type expected struct {
	need  amounts
	count int
	milli int32 // of each device
	match matcher
	part  float64
}

// typical merges asks that differ only in what fragmentation does not look at, and keeps the most frequent.
func (m Mix) typical() []expected {
	type key struct {
		cpu, memory, device int64
		count               int
		milli               int32
		kind, models        string
	}
	at := map[key]int{}
	var all []expected
	var keys []key
	var total float64
	for _, w := range m {
		if !(w.Weight > 0) || absurd(w.Ask) != "" {
			continue
		}
		e := expected{need: needs(w.Ask), count: w.Ask.Accelerators, milli: w.Ask.milli(), match: w.Ask.matcher()}
		k := key{e.need[cpu], 0, e.match.memory, e.count, e.milli, w.Ask.Kind, strings.Join(w.Ask.Models, "|")}
		i, ok := at[k]
		if !ok {
			i = len(all)
			at[k], all, keys = i, append(all, e), append(keys, k)
		}
		all[i].need[memory] = max(all[i].need[memory], e.need[memory])
		all[i].part += w.Weight
		total += w.Weight
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := keys[a], keys[b]
		return cmp.Or(cmp.Compare(all[b].part, all[a].part), cmp.Compare(y.count, x.count), cmp.Compare(y.milli, x.milli), cmp.Compare(y.cpu, x.cpu),
			cmp.Compare(y.device, x.device), cmp.Compare(x.kind, y.kind), cmp.Compare(x.models, y.models))
	})
	var out []expected
	var covered float64
	for _, i := range order {
		if covered >= typicalPart*total || len(out) == typicalMost {
			break
		}
		covered += all[i].part
		out = append(out, all[i])
	}
	for i := range out {
		out[i].part /= covered
	}
	return out
}
