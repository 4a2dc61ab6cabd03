package sched

import (
	"fmt"
	"slices"

	"github.com/lineshaft/lineshaft/internal/lp"
)

// pool is all devices of the groups whose nodes have the same types of devices: shares are packed into them together,
// whichever node they are on.
type pool struct {
	groups []int
	sizes  []int32       // of the shares, ascending
	from   map[int32]int // devices by what is taken of them
}

// pools adds the flows by which shares fill devices (see relaxation).
func (r *relaxation) pools() {
	known := map[string]int{}
	var pools []pool
	for g := range r.groups {
		at := &r.groups[g]
		if len(at.types) == 0 {
			continue
		}
		key := fmt.Sprint(at.types)
		p, ok := known[key]
		if !ok {
			p = len(pools)
			known[key] = p
			pools = append(pools, pool{from: map[int32]int{}})
		}
		pools[p].groups = append(pools[p].groups, g)
		for _, i := range at.rooms {
			for _, d := range r.h.rooms[i].devices {
				if d.milli > 0 {
					pools[p].from[whole-d.milli]++
				}
			}
		}
	}
	for p := range pools {
		r.pool(&pools[p])
	}
}

func (r *relaxation) pool(p *pool) {
	for k := range r.kinds {
		s := r.kinds[k].shape
		if s.count == 0 || s.milli >= whole {
			continue
		}
		here := slices.ContainsFunc(p.groups, func(g int) bool { return r.at[k][g] >= 0 })
		if at, found := slices.BinarySearch(p.sizes, s.milli); here && !found {
			p.sizes = slices.Insert(p.sizes, at, s.milli)
		}
	}
	if len(p.sizes) == 0 {
		return
	}
	balance, links := r.flow(p)
	// Tasks that take whole devices keep them out of the flow: both together are the devices that are free whole.
	if n := p.from[0]; n > 0 {
		row := lp.Row{Lower: lp.NoLower, Upper: float64(n), Terms: []lp.Term{{Column: r.enter(balance[0], n), Value: 1}}}
		for k := range r.kinds {
			for _, g := range p.groups {
				if s := r.kinds[k].shape; s.count > 0 && s.milli >= whole && r.at[k][g] >= 0 {
					row.Terms = append(row.Terms, lp.Term{Column: r.at[k][g], Value: float64(s.count)})
				}
			}
		}
		first := &r.groups[p.groups[0]]
		of := Price{Resource: "accelerators", Where: first.name, Free: float64(n), Model: r.h.types[first.types[0]].model}
		for _, g := range p.groups {
			of.Nodes += len(r.groups[g].rooms)
		}
		r.row(row, of)
	}
	for at := int32(0); at < whole; at++ {
		if b := balance[at]; b != nil {
			r.row(*b, Price{})
		}
	}
	for i, link := range links {
		for k := range r.kinds {
			for _, g := range p.groups {
				if s := r.kinds[k].shape; s.count > 0 && s.milli == p.sizes[i] && r.at[k][g] >= 0 {
					link.Terms = append(link.Terms, lp.Term{Column: r.at[k][g], Value: 1})
				}
			}
		}
		r.row(link, Price{})
	}
}

// enter adds the flow of devices into a position of the graph, n at most.
func (r *relaxation) enter(balance *lp.Row, n int) int {
	c := r.column(0, float64(n))
	balance.Terms = append(balance.Terms, lp.Term{Column: c, Value: 1})
	return c
}

// flow makes the graph's edges. balance has a row for each position that a device can be in: what flows in flows out,
// or ends there with the rest left empty. links has a row for each size: no more shares than edges.
func (r *relaxation) flow(p *pool) (balance map[int32]*lp.Row, links []lp.Row) {
	balance, links = map[int32]*lp.Row{}, make([]lp.Row, len(p.sizes))
	for i := range links {
		links[i] = lp.Row{Lower: lp.NoLower, Upper: 0}
	}
	row := func(at int32) *lp.Row {
		if balance[at] == nil {
			balance[at] = &lp.Row{Lower: 0, Upper: lp.NoUpper}
		}
		return balance[at]
	}
	// Shares go into a device by falling size, so a position is reached with a largest size that may follow.
	next := map[int32]int{}
	reach := func(at int32, size int) {
		if have, ok := next[at]; !ok {
			next[at] = size
		} else {
			next[at] = max(have, size)
		}
	}
	for taken := range p.from {
		reach(taken, len(p.sizes)-1)
	}
	for at := int32(0); at < whole; at++ {
		size, ok := next[at]
		if !ok {
			continue
		}
		if n := p.from[at]; n > 0 && at > 0 {
			r.enter(row(at), n)
		}
		row(at)
		for i := 0; i <= size; i++ {
			to := at + p.sizes[i]
			if to > whole {
				break
			}
			c := r.column(0, lp.NoUpper)
			row(at).Terms = append(row(at).Terms, lp.Term{Column: c, Value: -1})
			links[i].Terms = append(links[i].Terms, lp.Term{Column: c, Value: -1})
			if to < whole {
				reach(to, i)
				row(to).Terms = append(row(to).Terms, lp.Term{Column: c, Value: 1})
			}
		}
	}
	return balance, links
}
