package sched

import (
	"fmt"
	"math"
	"strconv"
)

// State is all that a hall has free, as text to compare.
func (h *Hall) State() string {
	var b []byte
	line := func(name string, values ...int64) {
		b = append(b, name...)
		for _, v := range values {
			b = strconv.AppendInt(append(b, ' '), v, 10)
		}
		b = append(b, '\n')
	}
	h.scarcity()
	for i := range h.rooms {
		r := &h.rooms[i]
		line(h.sites[i].name, r.free[:]...)
		for _, d := range r.devices {
			line("  device", int64(d.milli), int64(d.kind), int64(d.domain), d.memory)
		}
		line("  ", r.frag, int64(r.held))
	}
	for i := range h.caps {
		line(h.caps[i].name, h.caps[i].drawn)
	}
	for i := range h.racks {
		line(h.racks[i].name, h.racks[i].uplink)
	}
	for i := range h.classes {
		p := &h.classes[i].prices
		line("class", h.classes[i].free, int64(math.Float64bits(p.device)), int64(math.Float64bits(p.core)), int64(math.Float64bits(p.bound)), int64(p.scarce))
	}
	return string(b)
}

// Check compares every ranking with a look at all nodes, and the node that it gives with the best of a scan.
func (h *Hall) Check() error {
	h.scarcity()
	for _, s := range h.shapes {
		r, fresh := h.ranked(s), h.newRanking(s)
		if r.fits != fresh.fits || fmt.Sprint(r.key) != fmt.Sprint(fresh.key) || fmt.Sprint(r.best) != fmt.Sprint(fresh.best) {
			return fmt.Errorf("shape %+v: the ranking %v %v %v is out of date: %v %v %v", s.ask, r.fits, r.key, r.best, fresh.fits, fresh.key, fresh.best)
		}
		for _, f := range fresh.failed {
			for _, g := range r.failed {
				if f.mask == g.mask && f.nodes != g.nodes {
					return fmt.Errorf("shape %+v: %d nodes fail %b, counted %d", s.ask, f.nodes, f.mask, g.nodes)
				}
			}
		}
		best, value := int32(-1), int32(0)
		for _, i := range h.byOrder {
			k := h.key(s, i)
			if k < 0 {
				continue
			}
			if v := k - h.fee(s, h.sites[i].class); best < 0 || v > value {
				best, value = i, v
			}
		}
		if got := h.pick(s); got != best {
			return fmt.Errorf("shape %+v: the index gives room %d, the scan %d", s.ask, got, best)
		}
	}
	for i := range h.rooms {
		r := &h.rooms[i]
		if f := h.fragment(&h.classes[h.sites[i].class], r.free[cpu], r.devices); f != r.frag {
			return fmt.Errorf("room %d: fragmentation %d is kept as %d", i, f, r.frag)
		}
	}
	return nil
}
