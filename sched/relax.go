package sched

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/internal/lp"
)

// relaxation is the linear programme of a contest while it is built.
//
// Its variables are x(kind, group), how many tasks of a kind lie on a group of nodes, and the flows by which shares fill
// devices. A device is a path through the thousandths that are taken of it, from what is taken already to all of it:
// each share is an edge as long as the share is large, what is left empty is an edge too (Valério de Carvalho's arc
// flow for bin packing). So the bound knows that two shares of 600 do not fit into one device, whatever is free in sum.
type relaxation struct {
	loose   float64 // by this part more is let into each place than fits, so that what is short has the price and not the place
	h       *Hall
	kinds   []work
	groups  []alike
	total   float64 // worth of all gangs
	scale   float64 // of the objective, so that its coefficients are at most 1
	problem lp.Problem
	rows    []Price // what each row of the problem is a limit of; no resource for the others
	at      [][]int // by kind and group: the column, -1 for none
	whole   bool    // an exact programme: gangs are whole, and every node is a group of its own
}

// work is tasks of one shape that are worth the same; in an exact programme, the tasks of one gang.
type work struct {
	shape  *shape
	worth  float64 // of one task
	tasks  int
	gang   int // index, in an exact programme
	chosen int // its column that says whether the gang is placed, in an exact programme
}

// alike is nodes that are alike in what is free.
type alike struct {
	rooms []int32
	free  amounts
	types []uint16 // of the devices, ascending
	name  string   // of the first node
}

// mostCells bounds kinds times groups. Above it, nodes of one class and feed are one group whatever is free on each:
// the bound stays true and becomes less tight.
const mostCells = 40_000

func newRelaxation(h *Hall, gangs []Gang, worth Worth) *relaxation {
	r := &relaxation{h: h}
	type key struct {
		shape *shape
		worth float64
	}
	known := map[key]int{}
	for _, g := range gangs {
		w := worth(g)
		if wrong(g) != "" || !(w > 0) || math.IsInf(w, 1) {
			continue
		}
		r.total += w
		tasks := len(g.Tasks)
		if g.Min > 0 {
			tasks = g.Min // it counts as placed with so many
		}
		k := key{h.shapeOf(g.Each), w / float64(tasks)}
		i, ok := known[k]
		if !ok {
			i = len(r.kinds)
			known[k] = i
			r.kinds = append(r.kinds, work{shape: k.shape, worth: k.worth})
			r.scale = max(r.scale, k.worth)
		}
		r.kinds[i].tasks += tasks
	}
	r.group(true)
	if len(r.groups)*len(r.kinds) > mostCells {
		r.group(false)
	}
	return r
}

// group joins the nodes that take work and are alike.
func (r *relaxation) group(exact bool) {
	h := r.h
	r.groups = nil
	known := map[string]int{}
	for _, i := range h.byOrder {
		site, room := &h.sites[i], &h.rooms[i]
		if site.cordoned {
			continue
		}
		key := fmt.Sprint(site.class, site.feed)
		if exact {
			devices := slices.Clone(room.devices)
			slices.SortFunc(devices, func(a, b device) int {
				return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.milli, b.milli), cmp.Compare(a.memory, b.memory))
			})
			for d := range devices {
				devices[d].domain = 0
			}
			key = fmt.Sprint(key, room.free, devices)
		}
		at, ok := known[key]
		if !ok {
			at = len(r.groups)
			known[key] = at
			r.groups = append(r.groups, alike{name: site.name})
		}
		g := &r.groups[at]
		g.rooms = append(g.rooms, i)
		for k, v := range room.free {
			if v = max(v, 0); v >= unlimited || g.free[k] >= unlimited {
				g.free[k] = unlimited
			} else {
				g.free[k] += v
			}
		}
		for _, d := range room.devices {
			if at, found := slices.BinarySearch(g.types, d.kind); !found {
				g.types = slices.Insert(g.types, at, d.kind)
			}
		}
	}
}

// build makes the programme.
func (r *relaxation) build() {
	r.problem.Maximise = true
	r.at = make([][]int, len(r.kinds))
	for k := range r.kinds {
		r.at[k] = make([]int, len(r.groups))
		supply := lp.Row{Lower: lp.NoLower, Upper: float64(r.kinds[k].tasks)}
		for g := range r.groups {
			r.at[k][g] = -1
			if most := r.most(k, g); most > 0 {
				r.at[k][g] = r.column(r.kinds[k].worth/r.scale, float64(most))
				supply.Terms = append(supply.Terms, lp.Term{Column: r.at[k][g], Value: 1})
			}
		}
		switch {
		case r.whole:
			r.choice(k, supply)
		case len(supply.Terms) > 1:
			r.row(supply, Price{})
		}
	}
	for g := range r.groups {
		r.resources(g)
		r.devices(g)
	}
	r.powerCaps()
	r.pools()
}

// most is how many tasks of the kind fit on the group's nodes, each node alone.
func (r *relaxation) most(k, g int) (most int) {
	of := &r.kinds[k]
	for _, i := range r.groups[g].rooms {
		n, site := r.h.holds(of.shape, i, 0, of.tasks), &r.h.sites[i]
		if draw := of.shape.power[site.class]; draw > 0 && n > 0 {
			room, _ := r.h.headroom(site.feed)
			n = int(min(int64(n), max(room, 0)/draw))
		}
		if most += n; most >= of.tasks {
			return of.tasks
		}
	}
	return most
}

func (r *relaxation) column(cost, most float64) int {
	r.problem.Columns = append(r.problem.Columns, lp.Column{Cost: cost, Upper: most * (1 + r.loose)})
	return len(r.problem.Columns) - 1
}

func (r *relaxation) row(row lp.Row, of Price) {
	r.problem.Rows = append(r.problem.Rows, row)
	r.rows = append(r.rows, of)
}

// limit adds the row Σ use·x ≤ free, unless it cannot bind.
func (r *relaxation) limit(free float64, of Price, groups []int, use func(k *work, g *alike) float64) {
	row, most := lp.Row{Lower: lp.NoLower, Upper: free}, 0.0
	for k := range r.kinds {
		for _, g := range groups {
			c := r.at[k][g]
			if c < 0 {
				continue
			}
			if v := use(&r.kinds[k], &r.groups[g]); v >= lp.MinTerm {
				row.Terms = append(row.Terms, lp.Term{Column: c, Value: v})
				most += v * r.problem.Columns[c].Upper
			}
		}
	}
	if most > free {
		of.Free = free
		r.row(row, of)
	}
}

// priced is prices are given by.
var priced = [resources]struct {
	name string
	size float64
}{{"cpu", 1e6}, {"memory", 1 << 30}, {"disk", 1 << 30}, {"storage", 1 << 30}, {"bandwidth", 1e9}, {"power", 1e3}}

func (r *relaxation) resources(g int) {
	at := &r.groups[g]
	class := r.h.sites[at.rooms[0]].class
	for k, unit := range priced {
		if at.free[k] >= unlimited {
			continue
		}
		r.limit(float64(at.free[k])/unit.size, Price{Resource: unit.name, Where: at.name, Nodes: len(at.rooms)}, []int{g}, func(of *work, _ *alike) float64 {
			if k == power {
				return float64(of.shape.power[class]) / unit.size
			}
			return float64(of.shape.need[k]) / unit.size
		})
	}
}

// devices limits, for every set of device types that some tasks are bound to, what these take of the group's devices.
func (r *relaxation) devices(g int) {
	at := &r.groups[g]
	done := map[string]bool{}
	for k := range r.kinds {
		s := r.kinds[k].shape
		if s.count == 0 || r.at[k][g] < 0 {
			continue
		}
		set := r.accepted(s, at)
		key := fmt.Sprint(set)
		if done[key] {
			continue
		}
		done[key] = true
		var free, whole1 int64
		for _, i := range at.rooms {
			for _, d := range r.h.rooms[i].devices {
				if !slices.Contains(set, d.kind) {
					continue
				}
				free += int64(max(d.milli, 0))
				if d.milli == whole {
					whole1++
				}
			}
		}
		of := Price{Resource: "accelerators", Where: at.name, Nodes: len(at.rooms), Model: r.h.types[set[0]].model}
		within := func(of *work) bool {
			if of.shape.count == 0 {
				return false
			}
			for _, t := range r.accepted(of.shape, at) {
				if !slices.Contains(set, t) {
					return false
				}
			}
			return true
		}
		r.limit(float64(free)/whole, of, []int{g}, func(of *work, _ *alike) float64 {
			if !within(of) {
				return 0
			}
			return float64(of.shape.count) * float64(of.shape.milli) / whole
		})
		if free > whole1*whole {
			r.limit(float64(whole1), of, []int{g}, func(of *work, _ *alike) float64 {
				if of.shape.milli < whole || !within(of) {
					return 0
				}
				return float64(of.shape.count)
			})
		}
	}
}

// accepted are the group's device types that the shape can use.
func (r *relaxation) accepted(s *shape, g *alike) (set []uint16) {
	for _, t := range g.types {
		if s.ok[t] {
			set = append(set, t)
		}
	}
	return set
}

func (r *relaxation) powerCaps() {
	for c := range r.h.caps {
		limit := &r.h.caps[c]
		if limit.limit >= unlimited {
			continue
		}
		var below []int
		for g := range r.groups {
			for up := r.h.sites[r.groups[g].rooms[0]].feed; up >= 0; up = r.h.caps[up].parent {
				if up == int32(c) {
					below = append(below, g)
				}
			}
		}
		size := priced[power].size
		r.limit(float64(max(limit.limit-limit.drawn, 0))/size, Price{Resource: priced[power].name, Where: limit.name}, below, func(of *work, g *alike) float64 {
			return float64(of.shape.power[r.h.sites[g.rooms[0]].class]) / size
		})
	}
}
