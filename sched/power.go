package sched

import (
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
)

// powerCap is a cap of the tree and what is drawn below it, idle nodes included, in thousandths of a watt.
type powerCap struct {
	name   string
	parent int32 // -1 is none
	limit  int64
	drawn  int64
}

// CapUse is a power cap and what is drawn below it.
type CapUse struct {
	fleet.PowerCap
	Idle  units.Watts `json:"idle"`  // by its nodes without any task
	Drawn units.Watts `json:"drawn"` // by these with what runs on them, at most
}

// Power tells how the power caps are used, in the order of the snapshot.
func Power(s Snapshot) []CapUse {
	h := NewHall(s.Nodes, s.Caps, nil, nil)
	out := make([]CapUse, len(h.caps))
	for i := range h.caps {
		at := slices.IndexFunc(s.Caps, func(c fleet.PowerCap) bool { return c.Name == h.caps[i].name })
		out[i] = CapUse{PowerCap: s.Caps[at], Idle: units.Watts(h.caps[i].drawn) / 1e3}
	}
	for _, r := range s.Running {
		h.Start(r)
	}
	for i := range h.caps {
		out[i].Drawn = units.Watts(h.caps[i].drawn) / 1e3
	}
	return out
}

// addCaps reads the tree. A cap of 0 W is not limited; what is no positive number allows nothing. A parent that is not
// listed, or that would close a circle, is none.
func (h *Hall) addCaps(caps []fleet.PowerCap) {
	at := map[string]int32{}
	for _, c := range caps {
		if _, twice := at[c.Name]; twice || c.Name == "" {
			continue
		}
		at[c.Name] = int32(len(h.caps))
		limit := int64(0)
		switch w := float64(c.Watts); {
		case w == 0 || w >= 1e12:
			limit = unlimited
		case w > 0:
			limit = int64(math.Round(w * 1e3))
		}
		h.caps = append(h.caps, powerCap{name: c.Name, parent: -1, limit: limit})
	}
	for _, c := range caps {
		parent, ok := at[c.Parent]
		me, named := at[c.Name]
		if !ok || !named || h.caps[me].parent >= 0 {
			continue
		}
		circle := false
		for up := parent; up >= 0 && !circle; up = h.caps[up].parent {
			circle = up == me
		}
		if !circle {
			h.caps[me].parent = parent
		}
	}
}

func (h *Hall) capNamed(name string) int32 {
	if name != "" {
		for i := range h.caps {
			if h.caps[i].name == name {
				return int32(i)
			}
		}
	}
	return -1
}

// draw counts power at a cap and at all above it.
func (h *Hall) draw(feed int32, milliwatts int64) {
	if milliwatts == 0 {
		return
	}
	for ; feed >= 0; feed = h.caps[feed].parent {
		h.caps[feed].drawn += milliwatts
	}
}

// headroom is what may still be drawn below the cap, and which cap bounds it, -1 for none.
func (h *Hall) headroom(feed int32) (milliwatts int64, by int32) {
	milliwatts, by = unlimited, -1
	for ; feed >= 0; feed = h.caps[feed].parent {
		if c := &h.caps[feed]; c.limit < unlimited && c.limit-c.drawn < milliwatts {
			milliwatts, by = c.limit-c.drawn, feed
		}
	}
	return milliwatts, by
}
