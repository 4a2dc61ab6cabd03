package sched

import (
	"cmp"
	"slices"
)

// Mover places gangs in a hall of which it knows who holds what, and may move a few running tasks elsewhere when a gang
// would not fit otherwise. It plans; carrying the moves out, in their order and by checkpoint and restart, is for others.
//
// A task that does not fit looks for the nodes where it would, were one or two tasks gone that fit elsewhere, the
// smallest first; a task that has to go and fits nowhere may push a smaller one. So the search is bounded, and always
// ends with everything placed that was placed before.
type Mover struct {
	h    *Hall
	held [][]*holder // by room
	by   map[string][]*holder
	log  []change // of the attempt
	try  int      // number of the attempt
	gone int      // tasks that the attempt has moved

	epoch int // of the hall's shapes
}

// Move is a running task that goes from one place to another.
type Move struct {
	From, To Placement
}

// holder is a task in its place.
type holder struct {
	placement Placement
	shape     *shape
	room      int32
	devices   []int32
	movable   bool
	tried     int       // the attempt in which it was placed or moved last: it stays until that ends
	origin    Placement // where it was before that attempt
}

// change is a task that came or went.
type change struct {
	who     *holder
	came    bool
	room    int32
	devices []int32
	before  int // who.tried
}

// What bounds the search for one task.
const (
	pushDeep   = 3  // a task pushes one that pushes one that pushes one
	pushTries  = 4  // places that are tried at each depth
	pushAtOnce = 2  // tasks that leave one node
	swapTries  = 64 // pairs that are tried
)

// NewMover moves tasks in the hall, which must be changed through it alone from now on.
func NewMover(h *Hall) *Mover {
	return &Mover{h: h, held: make([][]*holder, len(h.rooms)), by: map[string][]*holder{}, epoch: h.epoch}
}

// Start takes what a running gang holds. Its tasks may be moved when it is movable.
func (m *Mover) Start(r Running, movable bool) {
	m.h.Start(r)
	for _, p := range r.Placements {
		m.know(p, movable)
	}
}

// know registers a placement that the hall holds.
func (m *Mover) know(p Placement, movable bool) {
	i, ok := m.h.byName[p.Node]
	if !ok || absurd(p.Ask) != "" {
		return
	}
	w := &holder{placement: p, shape: m.h.shapeOf(p.Ask), room: i, movable: movable && p.Uplink == 0}
	for _, id := range p.Accelerators {
		if d := slices.Index(m.h.sites[i].ids, id); d >= 0 {
			w.devices = append(w.devices, int32(d))
		}
	}
	m.held[i] = append(m.held[i], w)
	m.by[p.Gang] = append(m.by[p.Gang], w)
}

// Stop releases a gang.
func (m *Mover) Stop(gang string) {
	for _, w := range m.by[gang] {
		m.h.Release(w.placement)
		m.held[w.room] = slices.DeleteFunc(m.held[w.room], func(o *holder) bool { return o == w })
	}
	delete(m.by, gang)
}

// Place is the hall's Place, with at most so many moves of others when it would refuse. The moves are in the order in
// which they can be carried out one after the other once all that move have stopped.
func (m *Mover) Place(g Gang, movable bool, most int) (Decision, []Move) {
	d := m.h.Place(g)
	for _, p := range d.Placements {
		m.know(p, movable)
	}
	if len(d.Placements) > 0 || most < 1 || len(g.Tasks) == 0 || wrong(g) != "" || g.Topology.Level != "" {
		return d, nil
	}
	least := len(g.Tasks)
	if g.Min > 0 {
		least = g.Min
	}
	s := m.h.shapeOf(g.Each)
	if len(g.Tasks) > 1 && s.need[bandwidth] > 0 && m.h.uplinks() {
		return d, nil
	}
	m.log, m.gone = nil, 0
	m.try++
	m.refresh()
	var mine []*holder
	for _, task := range g.Tasks[:least] {
		w := &holder{placement: Placement{Gang: g.ID, Task: task, Ask: g.Each}, shape: s}
		if !m.settle(w, most, pushDeep) {
			m.rollback(0)
			return d, nil
		}
		w.movable = movable
		mine = append(mine, w)
	}
	placed := Decision{Gang: g.ID, Fits: d.Fits}
	for _, w := range mine {
		m.by[g.ID] = append(m.by[g.ID], w)
		placed.Placements = append(placed.Placements, w.placement)
	}
	return placed, m.moves()
}

// refresh renews the shapes of the tasks after the hall has dropped them.
func (m *Mover) refresh() {
	if m.epoch == m.h.epoch {
		return
	}
	for _, list := range m.held {
		for _, w := range list {
			w.shape = m.h.shapeOf(w.placement.Ask)
		}
	}
	m.epoch = m.h.epoch
}

// moves are what the attempt has moved.
func (m *Mover) moves() (out []Move) {
	seen := map[*holder]bool{}
	for _, c := range m.log {
		if !c.came && !seen[c.who] {
			seen[c.who] = true
			out = append(out, Move{From: c.who.origin, To: c.who.placement})
		}
	}
	return out
}

// come puts the task on the node, leave takes it away.
func (m *Mover) come(w *holder, i int32) {
	_, devices := m.h.score(w.shape, i, 0, nil)
	m.log = append(m.log, change{who: w, came: true, before: w.tried})
	m.put(w, i, devices)
	w.tried = m.try
}

func (m *Mover) put(w *holder, i int32, devices []int32) {
	m.h.move(i, w.shape, devices, 0, 1)
	w.room, w.devices = i, devices
	w.placement.Node, w.placement.Accelerators = m.h.sites[i].name, nil
	for _, d := range devices {
		w.placement.Accelerators = append(w.placement.Accelerators, m.h.sites[i].ids[d])
	}
	m.held[i] = append(m.held[i], w)
}

func (m *Mover) leave(w *holder) {
	m.log = append(m.log, change{who: w, room: w.room, devices: w.devices, before: w.tried})
	w.origin = w.placement
	m.drop(w)
	w.tried = m.try
	m.gone++
}

func (m *Mover) drop(w *holder) {
	m.h.move(w.room, w.shape, w.devices, 0, -1)
	list := m.held[w.room]
	i := slices.Index(list, w)
	list[i] = list[len(list)-1]
	m.held[w.room] = list[:len(list)-1]
}

// rollback undoes the attempt back to a length of its log.
func (m *Mover) rollback(to int) {
	for ; len(m.log) > to; m.log = m.log[:len(m.log)-1] {
		c := m.log[len(m.log)-1]
		if c.came {
			m.drop(c.who)
		} else {
			m.put(c.who, c.room, c.devices)
			m.gone--
		}
		c.who.tried = c.before
	}
}

// settle finds a place for the task, which has none now.
func (m *Mover) settle(w *holder, most, depth int) bool {
	t := trial{h: m.h, s: w.shape}
	i := m.h.pick(w.shape)
	if i >= 0 && !t.allowed(i) {
		i = t.scan(m.h.byOrder, 0)
	}
	if i >= 0 {
		m.come(w, i)
		return true
	}
	if depth == 0 || m.gone >= most {
		return false
	}
	for _, p := range m.pushes(w.shape, min(most-m.gone, pushAtOnce), depth) {
		mark := len(m.log)
		for _, out := range p.out {
			m.leave(out)
		}
		if m.h.lacks(w.shape, p.room) == 0 && t.allowed(p.room) {
			m.come(w, p.room)
			ok := true
			for k := len(p.out) - 1; k >= 0 && ok; k-- {
				ok = m.settle(p.out[k], most, depth-1)
			}
			if ok {
				return true
			}
		}
		m.rollback(mark)
	}
	return most-m.gone >= 2 && m.swap(w, &t)
}

// push is who would have to leave a node, the greatest last.
type push struct {
	room int32
	out  []*holder
	cost int64
}

// pushes are the cheapest ways to make room for the shape.
func (m *Mover) pushes(s *shape, most, depth int) []push {
	h := m.h
	var out []push
	prices := map[*shape]int64{}
	price := func(w *holder) int64 { // what moving it costs, -1 when it cannot
		if !w.movable || w.tried == m.try {
			return -1
		}
		p, ok := prices[w.shape]
		if ok {
			return p
		}
		p = w.shape.size() + 1
		switch {
		case h.ranked(w.shape).fits > 0:
		case depth > 1 && w.shape.size() < s.size():
			p += 10 * p
		default:
			p = -1
		}
		prices[w.shape] = p
		return p
	}
	for i := range h.rooms {
		site := &h.sites[i]
		if site.cordoned || int(s.most[site.class]) < s.count {
			continue
		}
		list := m.held[i]
		for a, w := range list {
			p := price(w)
			if p < 0 {
				continue
			}
			if h.wouldFit(s, int32(i), w, nil) {
				out = append(out, push{int32(i), []*holder{w}, p})
				continue
			}
			if most < 2 {
				continue
			}
			for _, u := range list[a+1:] {
				if q := price(u); q >= 0 && h.wouldFit(s, int32(i), w, u) {
					pair := []*holder{w, u}
					if w.shape.size() > u.shape.size() {
						pair[0], pair[1] = u, w
					}
					out = append(out, push{int32(i), pair, 2 * (p + q)})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b push) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(h.sites[a.room].order, h.sites[b.room].order))
	})
	return out[:min(len(out), pushTries)]
}

// size is how much of devices a task takes, in thousandths; of one without devices little, by its cores.
func (s *shape) size() int64 {
	return int64(s.count)*int64(s.milli)*16 + s.need[cpu]/1e6
}

// wouldFit tells whether the task would fit the node without one or two of those on it.
func (h *Hall) wouldFit(s *shape, i int32, a, b *holder) bool {
	r, class := &h.rooms[i], h.sites[i].class
	for k := range power {
		free := r.free[k] + a.shape.need[k]
		if b != nil {
			free += b.shape.need[k]
		}
		if s.need[k] > free {
			return false
		}
	}
	free := r.free[power] + a.shape.power[class]
	if b != nil {
		free += b.shape.power[class]
	}
	if s.power[class] > free {
		return false
	}
	n := s.count
	for d := range r.devices {
		v := r.devices[d]
		a.adds(h, int32(d), &v)
		if b != nil {
			b.adds(h, int32(d), &v)
		}
		if n > 0 && h.fitsDevice(s, &v) {
			n--
		}
	}
	return n == 0
}

// adds what the task has of the device.
func (w *holder) adds(h *Hall, d int32, v *device) {
	if slices.Contains(w.devices, d) {
		v.milli += w.shape.milli
		v.memory += w.shape.takes(&h.types[v.kind])
	}
}
