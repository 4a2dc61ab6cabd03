package sched

import (
	"math"
	"slices"
	"sort"
)

// Expected fragmentation after FGD (Weng et al., USENIX ATC 2023): what of a node's free accelerators a task drawn from
// the mix could not use. All of it when the task does not fit the node at all, else the devices that have too little
// left for it. A placement costs what it adds to that; the node where it adds least, or takes most away, is the best.
//
// The parts of the mix are whole millionths, so the sums are exact and the same on every machine.

// class is nodes that are alike but for what is free: the same devices, and about as many cores for each.
type class struct {
	types                 []uint16 // of its devices
	uniform               bool     // all of one type
	groups                []group
	first, last           int32 // rooms
	firstBlock, lastBlock int32
	free                  int64   // thousandths of devices
	devices, cores        float64 // of the nodes that take work, when empty
	prices                classPrices
}

// group is what of the mix asks for the same devices: it differs in cores alone.
type group struct {
	count  int
	milli  int32
	memory int64
	ok     []bool  // by device type
	cores  []int64 // ascending
	weight []int64 // of those that need at most so many cores
}

const millionths = 1_000_000

// grades are the mix in whole numbers, and what of a score follows from it.
type grades struct {
	total int64
	steps [99]int64 // at which change of fragmentation the score goes up by one
	tight int32     // parts of a score, of fine, that tightness counts
}

func (h *Hall) setMix() {
	parts := make([]int64, len(h.expect))
	h.total = 0
	for i, e := range h.expect {
		parts[i] = int64(math.Round(e.part * millionths))
		h.total += parts[i]
	}
	h.setSteps()
	for i := range h.classes {
		h.classes[i].group(h, parts)
	}
	h.setPrices()
	for i := range h.rooms {
		r := &h.rooms[i]
		r.frag = h.fragment(&h.classes[h.sites[i].class], r.free[cpu], r.devices)
	}
}

// group sorts what the class's devices can serve.
func (c *class) group(h *Hall, parts []int64) {
	c.groups = nil
	type one struct{ cores, weight int64 }
	var lists [][]one
	for i, e := range h.expect {
		if e.count == 0 {
			continue
		}
		g := group{count: e.count, milli: e.milli, ok: make([]bool, len(h.types))}
		if e.milli < whole {
			g.memory = e.match.memory
		}
		able := 0
		for _, t := range c.types {
			if e.match.takes(h.types[t]) {
				g.ok[t] = true
				able++
			}
		}
		if able < e.count {
			continue
		}
		at := slices.IndexFunc(c.groups, func(o group) bool {
			return o.count == g.count && o.milli == g.milli && o.memory == g.memory && slices.Equal(o.ok, g.ok)
		})
		if at < 0 {
			at = len(c.groups)
			c.groups, lists = append(c.groups, g), append(lists, nil)
		}
		lists[at] = append(lists[at], one{e.need[cpu], parts[i]})
	}
	for i := range c.groups {
		g := &c.groups[i]
		sort.SliceStable(lists[i], func(a, b int) bool { return lists[i][a].cores < lists[i][b].cores })
		var sum int64
		for _, o := range lists[i] {
			sum += o.weight
			g.cores, g.weight = append(g.cores, o.cores), append(g.weight, sum)
		}
	}
}

// fits is the weight of what of the group finds enough cores.
func (g *group) fits(free int64) int64 {
	lo, hi := 0, len(g.cores)
	for lo < hi {
		if m := (lo + hi) / 2; g.cores[m] <= free {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 {
		return 0
	}
	return g.weight[lo-1]
}

// fragment is the expected fragmentation of a node's remainder, in thousandths of a device times millionths.
func (h *Hall) fragment(c *class, cores int64, devices []device) int64 {
	var left int64
	for d := range devices {
		left += int64(max(devices[d].milli, 0))
	}
	f := left * h.total
	if left == 0 || f == 0 {
		return 0
	}
	for i := range c.groups {
		g := &c.groups[i]
		w := g.fits(cores)
		if w == 0 {
			continue
		}
		n, usable := 0, int32(0)
		for d := range devices {
			v := &devices[d]
			if v.milli >= g.milli && (c.uniform || g.ok[v.kind]) && v.memory >= g.memory {
				n++
				usable += v.milli
			}
		}
		if n >= g.count {
			f -= w * int64(usable)
		}
	}
	return f
}

// grade is floor(100·sigmoid(change/1000)), where the weight of fragmentation is 1.
func (h *Hall) grade(change int64) int32 {
	lo, hi := 0, len(h.steps)
	for lo < hi {
		if m := (lo + hi) / 2; h.steps[m] <= change {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return int32(lo)
}
