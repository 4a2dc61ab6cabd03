package sched

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/units"
)

// The reasons of a decision come from the ranking that decided. There is one for every constraint that a node fails; a
// node that fails several is counted at each of them. Of those that fail nothing else, the detail says how many there
// are: had one of them what is needed, the task would start there.

// constraint names what a bit stands for.
var constraints = [...]string{
	"cpu", "memory", "disk", "storage", "bandwidth", "power", "accelerators", "model", "nodes", "power cap", "uplink", "topology",
}

const exampleNodes = 3

// failing is what one constraint rules out.
type failing struct {
	nodes, alone int
	offered      int64
	fewest       int // constraints that the node with the best offer fails
	where        int32
	examples     []string
}

// explain says what ruled the nodes out when the tasks in t.spots were placed.
func (t *trial) explain(g Gang) []Reason {
	h := t.h
	if len(h.rooms) == 0 {
		return []Reason{{Constraint: "nodes", Needed: "1", Offered: "0", Detail: "no node is known"}}
	}
	var out []Reason
	if placed := max(len(t.spots), t.nearest); t.want > 1 {
		needed, detail := strconv.Itoa(t.want), fmt.Sprintf("the %d tasks start together; %d of them fit now", t.want, placed)
		if t.least < t.want {
			needed = "at least " + strconv.Itoa(t.least)
			detail = fmt.Sprintf("at least %d of the %d tasks start together; %d of them fit now", t.least, t.want, placed)
		}
		out = append(out, Reason{Constraint: "gang", Needed: needed, Offered: strconv.Itoa(placed), Detail: detail})
	}
	if t.near != "" {
		out = append(out, t.apart())
	}
	var found [len(constraints)]failing
	t.tally(&found)
	order := make([]int, 0, len(found))
	for c := range found {
		if found[c].nodes > 0 {
			order = append(order, c)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(found[b].nodes, found[a].nodes) })
	for _, c := range order {
		out = append(out, t.reason(c, &found[c]))
	}
	return out
}

func (t *trial) apart() Reason {
	r := Reason{Constraint: "topology", Needed: fmt.Sprintf("%d in one %s", t.least, t.near), Offered: strconv.Itoa(t.nearest)}
	r.Detail = fmt.Sprintf("no %s has room for a task", t.near)
	if t.nearest > 0 {
		r.Detail = fmt.Sprintf("%s %s has room for %d tasks, more than any other", t.near, t.where, t.nearest)
	}
	return r
}

// tally goes over the nodes once.
func (t *trial) tally(found *[len(constraints)]failing) {
	h, r := t.h, t.h.ranked(t.s)
	for _, i := range h.byOrder {
		mask := max(-r.key[i], 0) | t.above(i)
		if mask == 0 {
			continue
		}
		several := bits.OnesCount32(uint32(mask))
		for m := uint32(mask); m != 0; m &= m - 1 {
			c := bits.TrailingZeros32(m)
			f := &found[c]
			if f.nodes++; several == 1 {
				f.alone++
			}
			if offered := t.offers(c, i); f.nodes == 1 || several < f.fewest || several == f.fewest && offered > f.offered {
				f.offered, f.fewest, f.where = offered, several, i
			}
			if len(f.examples) < exampleNodes {
				f.examples = append(f.examples, h.sites[i].name)
			}
		}
	}
}

// above is what of the hall keeps the task off a node that it fits.
func (t *trial) above(i int32) (mask int32) {
	site := &t.h.sites[i]
	if room, by := t.h.headroom(site.feed); by >= 0 && t.s.power[site.class] > max(room, 0) {
		mask |= lackPowerCap
	}
	if t.bandwidth > 0 && site.rack >= 0 && t.h.racks[site.rack].uplink < t.bandwidth*(t.inRack[site.rack]+1) {
		mask |= lackUplink
	}
	return mask
}

// offers is how much of the constraint's resource the node offers.
func (t *trial) offers(constraint int, i int32) (n int64) {
	site, r := &t.h.sites[i], &t.h.rooms[i]
	switch 1 << constraint {
	case lackDevices:
		for d := range r.devices {
			v := &r.devices[d]
			switch {
			case !t.s.ok[v.kind]:
			case t.s.milli < whole:
				n = max(n, int64(v.milli))
			case t.h.fitsDevice(t.s, v):
				n++
			}
		}
	case lackModel:
		return int64(t.s.most[site.class])
	case lackPowerCap:
		n, _ = t.h.headroom(site.feed)
	case lackUplink:
		return t.h.racks[site.rack].uplink
	case lackCordon, lackTopology:
	default:
		return r.free[constraint]
	}
	return n
}

// reason puts a constraint into words.
func (t *trial) reason(c int, f *failing) Reason {
	h := t.h
	name := constraints[c]
	r := Reason{Constraint: name, Nodes: f.nodes, Examples: f.examples}
	more := ""
	if f.alone < f.nodes {
		more = fmt.Sprintf(", %d by nothing else", f.alone)
	}
	r.Detail = fmt.Sprintf("%s ruled out by %s%s; of these %s offers the most", nodes(f.nodes), name, more, h.sites[f.where].name)
	site := &h.sites[f.where]
	have := max(f.offered, 0)
	switch 1 << c {
	case lackCPU:
		r.Needed, r.Offered = number(float64(t.s.need[cpu])/1e6), number(float64(have)/1e6)
	case lackMemory, lackDisk, lackStorage:
		r.Needed, r.Offered = units.Bytes(t.s.need[c]).String(), units.Bytes(have).String()
	case lackBandwidth, lackUplink:
		r.Needed, r.Offered = units.BitsPerSecond(t.s.need[bandwidth]).String(), units.BitsPerSecond(have).String()
	case lackPower:
		r.Needed, r.Offered = wattsText(t.s.power[site.class]), wattsText(have)
	case lackPowerCap:
		_, by := h.headroom(site.feed)
		r.Needed, r.Offered = wattsText(t.s.power[site.class]), wattsText(have)+" under "+h.caps[by].name
		r.Detail = fmt.Sprintf("%s under a power cap that is used up%s; the cap %s, of %s, has the most left", nodes(f.nodes), more, h.caps[by].name, wattsText(h.caps[by].limit))
	case lackDevices, lackModel:
		r.Needed, r.Offered = strconv.Itoa(t.s.count), strconv.FormatInt(have, 10)
		if t.s.milli < whole {
			r.Needed = shareText(int64(t.s.milli))
			if 1<<c == lackDevices {
				r.Offered = shareText(have)
			}
		}
		if m := t.s.match.String(); m != "" {
			r.Needed = strings.TrimSpace(r.Needed + " " + m)
		}
		if 1<<c == lackModel {
			r.Detail = fmt.Sprintf("%s without so many such accelerators%s, even when empty", nodes(f.nodes), more)
		}
	case lackCordon:
		r.Needed, r.Offered = "a node that takes work", fmt.Sprintf("%d of %d", len(h.rooms)-f.nodes, len(h.rooms))
		r.Detail = fmt.Sprintf("%s cordoned%s; `lineshaft uncordon NODE` lets a node take work again", nodes(f.nodes), more)
	}
	return r
}

func wattsText(milliwatts int64) string { return units.Watts(float64(milliwatts) / 1e3).String() }

// shareText is thousandths of a device: "0.5 of a device".
func shareText(milli int64) string { return number(float64(milli)/whole) + " of a device" }
