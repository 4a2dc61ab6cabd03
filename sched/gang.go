package sched

import (
	"cmp"
	"slices"

	"github.com/lineshaft/lineshaft/internal/units"
)

// Place finds places for the gang, takes them and says where; or leaves the hall as it was and says why not. An elastic
// gang gets as many of its tasks as fit, at least Min.
func (h *Hall) Place(g Gang) Decision {
	d := Decision{Gang: g.ID}
	if what := wrong(g); what != "" {
		d.Reasons = []Reason{{Constraint: "request", Needed: "what a task can mean", Offered: what, Detail: "the gang asks for " + what + ": nothing can hold it"}}
		return d
	}
	found, t := h.find(g)
	if t != nil {
		d.Reasons = t.explain(g)
		t.undo()
		return d
	}
	return found
}

// find is Place for a gang that means something: the decision, or the trial that failed and is not undone yet.
func (h *Hall) find(g Gang) (Decision, *trial) {
	t := &trial{h: h, s: h.shapeOf(g.Each), want: len(g.Tasks), least: len(g.Tasks)}
	if g.Min > 0 {
		t.least = min(g.Min, t.want)
	}
	if t.want > 1 && h.uplinks() {
		t.bandwidth = t.s.need[bandwidth]
	}
	if !t.place(g.Topology) {
		return Decision{Gang: g.ID}, t
	}
	return t.settle(g), nil
}

// settle is the decision that places the gang where the trial found places.
func (t *trial) settle(g Gang) Decision {
	d := Decision{Gang: g.ID, Fits: t.fits, Placements: make([]Placement, len(t.spots))}
	t.charge()
	for i, s := range t.spots {
		site := &t.h.sites[s.room]
		p := Placement{Gang: g.ID, Task: g.Tasks[i], Node: site.name, Ask: g.Each, Uplink: units.BitsPerSecond(s.uplink)}
		for _, v := range s.devices {
			p.Accelerators = append(p.Accelerators, site.ids[v])
		}
		d.Placements[i] = p
	}
	return d
}

func wrong(g Gang) string {
	switch {
	case len(g.Tasks) == 0:
		return "no task"
	case g.Min < 0 || g.Min > len(g.Tasks):
		return "at least " + number(float64(g.Min)) + " of " + number(float64(len(g.Tasks))) + " tasks"
	case g.Topology.Level != "" && g.Topology.Level != LevelDomain && g.Topology.Level != LevelNode && g.Topology.Level != LevelRack:
		return "the topology " + g.Topology.Level
	}
	return absurd(g.Each)
}

// Start takes all that a running gang holds, its rack's uplinks included; Stop releases it.
func (h *Hall) Start(r Running) { h.run(r, 1) }

// Stop releases what Start took.
func (h *Hall) Stop(r Running) { h.run(r, -1) }

func (h *Hall) run(r Running, sign int64) {
	spans := h.spans(r.Placements)
	for _, p := range r.Placements {
		if spans {
			p.Uplink = p.Ask.Bandwidth
		}
		h.hold(p, sign)
	}
}

// spans tells whether the placements lie in more than one rack.
func (h *Hall) spans(list []Placement) bool {
	first := int32(-2)
	for _, p := range list {
		i, ok := h.byName[p.Node]
		if !ok {
			continue
		}
		if first == -2 {
			first = h.sites[i].rack
		} else if h.sites[i].rack != first {
			return true
		}
	}
	return false
}

func (h *Hall) uplinks() bool {
	return slices.ContainsFunc(h.racks, func(r rack) bool { return r.limit < unlimited })
}

// trial is a gang on its way to its places.
type trial struct {
	h           *Hall
	s           *shape
	want, least int
	bandwidth   int64 // of each task, as far as uplinks matter
	spots       []spot
	inRack      map[int32]int64 // tasks by rack, when bandwidth > 0
	fits        int             // nodes on which the first task fitted
	near        string          // level that must hold and does not
	nearest     int             // how many tasks the best group of that level holds
	where       string
}

type spot struct {
	room    int32
	devices []int32
	uplink  int64
}

// place puts the tasks where the topology wants them.
func (t *trial) place(top Topology) bool {
	if top.Level != "" && (t.want > 1 || top.Level == LevelDomain && t.s.count > 0) {
		if t.together(top.Level) {
			return true
		}
		if top.Hard {
			return false
		}
		t.near = ""
		t.gather(top.Level)
	}
	for len(t.spots) < t.want && t.next() {
	}
	if len(t.spots) >= t.least {
		return true
	}
	if t.bandwidth == 0 {
		return false
	}
	t.undo() // within one rack no uplink is needed
	if again := (trial{h: t.h, s: t.s, want: t.want, least: t.least, fits: t.fits}); again.together(LevelRack) {
		*t = again
		return true
	}
	for len(t.spots) < t.want && t.next() { // as the reasons are to say
	}
	return false
}

// next places one task on the best node of all.
func (t *trial) next() bool {
	i := t.h.pick(t.s)
	if len(t.spots) == 0 {
		t.fits = t.h.ranked(t.s).fits
	}
	if i >= 0 && !t.allowed(i) {
		i = t.scan(t.h.byOrder, 0)
	}
	if i < 0 {
		return false
	}
	t.put(i, 0)
	return true
}

// allowed tells whether the power caps and the uplink above the node bear one more task.
func (t *trial) allowed(i int32) bool {
	site := &t.h.sites[i]
	if site.feed >= 0 {
		if draw := t.s.power[site.class]; draw > 0 {
			if room, _ := t.h.headroom(site.feed); room < draw {
				return false
			}
		}
	}
	return t.bandwidth == 0 || site.rack < 0 || t.h.racks[site.rack].uplink >= t.bandwidth*(t.inRack[site.rack]+1)
}

// scan is the best of the given nodes that is allowed, the first among equals. Domain is the one of the devices, 0 any.
func (t *trial) scan(rooms []int32, domain uint16) int32 {
	r := t.h.ranked(t.s)
	t.h.scarcity()
	best, value := int32(-1), int32(0)
	for _, i := range rooms {
		key := r.key[i]
		if key < 0 || !t.allowed(i) {
			continue
		}
		if domain != 0 {
			if t.h.inDomain(t.s, i, domain) < t.s.count {
				continue
			}
			var devices [16]int32
			key, _ = t.h.score(t.s, i, domain, devices[:0])
		}
		if v := key - t.h.fee(t.s, t.h.sites[i].class); best < 0 || v > value {
			best, value = i, v
		}
	}
	return best
}

func (t *trial) put(i int32, domain uint16) {
	_, devices := t.h.score(t.s, i, domain, nil)
	t.h.move(i, t.s, devices, 0, 1)
	t.spots = append(t.spots, spot{room: i, devices: devices})
	if t.bandwidth > 0 {
		if t.inRack == nil {
			t.inRack = map[int32]int64{}
		}
		t.inRack[t.h.sites[i].rack]++
	}
}

func (t *trial) undo() {
	for _, s := range t.spots {
		t.h.move(s.room, t.s, s.devices, s.uplink, -1)
	}
	t.spots, t.inRack = nil, nil
}

// charge takes the uplinks of a gang that spans racks.
func (t *trial) charge() {
	if t.bandwidth == 0 || len(t.inRack) < 2 {
		return
	}
	for i := range t.spots {
		if rack := t.h.sites[t.spots[i].room].rack; rack >= 0 && t.h.racks[rack].limit < unlimited {
			t.h.racks[rack].uplink -= t.bandwidth
			t.spots[i].uplink = t.bandwidth
		}
	}
}

// area is nodes that are near each other, or the part of their devices that is one domain.
type area struct {
	name   string
	rooms  []int32
	domain uint16
	holds  int // tasks
}

// areas are the groups of the level that hold anything of the gang.
func (t *trial) areas(level string) (out []area) {
	h := t.h
	add := func(name string, rooms []int32, domain uint16) {
		a := area{name: name, rooms: rooms, domain: domain}
		for _, i := range rooms {
			a.holds += h.holds(t.s, i, domain, t.want)
		}
		if a.holds > 0 {
			out = append(out, a)
		}
	}
	switch level {
	case LevelNode:
		for o := range h.byOrder {
			add(h.sites[h.byOrder[o]].name, h.byOrder[o:o+1], 0)
		}
	case LevelRack:
		for i := range h.racks {
			add(h.racks[i].name, h.racks[i].rooms, 0)
		}
	case LevelDomain:
		rooms := make([][]int32, len(h.domains))
		for _, i := range h.byOrder {
			for d := range h.rooms[i].devices {
				if v := h.rooms[i].devices[d].domain; v != 0 && (len(rooms[v]) == 0 || rooms[v][len(rooms[v])-1] != i) {
					rooms[v] = append(rooms[v], i)
				}
			}
		}
		for d := 1; d < len(rooms); d++ {
			add(h.domains[d], rooms[d], uint16(d))
		}
	}
	return out
}

// together places the gang within one area of the level: the one that has the least room beyond it.
func (t *trial) together(level string) bool {
	list := t.areas(level)
	t.near = level
	// Areas that hold the whole gang come first, the tightest of these first; of the others the widest.
	slices.SortStableFunc(list, func(a, b area) int {
		if short := cmp.Compare(max(t.want-a.holds, 0), max(t.want-b.holds, 0)); short != 0 {
			return short
		}
		return cmp.Compare(a.holds, b.holds)
	})
	for i, a := range list {
		if a.holds < t.least {
			if i == 0 {
				t.nearest, t.where = a.holds, a.name
			}
			break
		}
		if placed := t.fill(a); placed >= t.least {
			return true
		} else if placed > t.nearest {
			t.nearest, t.where = placed, a.name
		}
		t.undo()
	}
	return false
}

// gather fills the widest areas first, so that the gang lies in few.
func (t *trial) gather(level string) {
	for len(t.spots) < t.want {
		list := t.areas(level)
		if len(list) == 0 {
			return
		}
		left := t.want - len(t.spots)
		best := slices.MinFunc(list, func(a, b area) int {
			if short := cmp.Compare(max(left-a.holds, 0), max(left-b.holds, 0)); short != 0 {
				return short
			}
			return cmp.Compare(a.holds, b.holds)
		})
		if t.fill(best) == 0 {
			return
		}
	}
}

// fill places as much as the area takes.
func (t *trial) fill(a area) (placed int) {
	for len(t.spots) < t.want {
		i := t.scan(a.rooms, a.domain)
		if i < 0 {
			break
		}
		t.put(i, a.domain)
		placed++
	}
	return placed
}

// inDomain is how many of the node's devices in the domain the task can have.
func (h *Hall) inDomain(s *shape, i int32, domain uint16) (n int) {
	for d := range h.rooms[i].devices {
		if v := &h.rooms[i].devices[d]; v.domain == domain && h.fitsDevice(s, v) {
			n++
		}
	}
	return n
}

// holds is how many tasks the node can take now, at most `most`, power caps and uplinks aside.
func (h *Hall) holds(s *shape, i int32, domain uint16, most int) int {
	site, r := &h.sites[i], &h.rooms[i]
	if site.cordoned {
		return 0
	}
	n := int64(most)
	for k := range power {
		if s.need[k] > 0 {
			n = min(n, max(r.free[k], 0)/s.need[k])
		}
	}
	if draw := s.power[site.class]; draw > 0 {
		n = min(n, max(r.free[power], 0)/draw)
	}
	if s.count == 0 || n == 0 {
		return int(n)
	}
	var devices int64
	for d := range r.devices {
		v := &r.devices[d]
		if domain != 0 && v.domain != domain || !h.fitsDevice(s, v) {
			continue
		}
		if s.milli >= whole {
			devices++
			continue
		}
		shares := int64(v.milli / s.milli)
		if each := s.takes(&h.types[v.kind]); each > 0 {
			shares = min(shares, v.memory/each)
		}
		devices += shares
	}
	return int(min(n, devices/int64(s.count)))
}
