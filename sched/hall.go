package sched

import (
	"cmp"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/fleet"
)

// Hall is what is free on the nodes, and knows for every shape of ask which node suits it best. It is changed by Take,
// Release and Place, and not for use by several goroutines.
//
// A decision does not look at all nodes. For each shape there is a ranking of the nodes; a node that has changed since
// the shape was last asked for is looked at again, and the best one is found over blocks of nodes (rank.go). What a node
// offers is counted in whole numbers, so releasing restores exactly what was taken.
type Hall struct {
	sites   []site // what never changes, shared by clones
	rooms   []room // what is free, beside sites
	classes []class
	blocks  []int32 // first room of each block, and the end
	types   []deviceType
	byName  map[string]int32
	byOrder []int32 // rooms by name
	racks   []rack
	domains []string // names of accelerator domains; 0 is none
	caps    []powerCap
	weights Weights
	expect  []expected
	grades

	shapes map[shapeKey]*shape
	epoch  int     // how often the shapes started again
	log    []int32 // rooms in the order in which they changed
	base   int     // how many entries of the log are forgotten
	prices bool    // whether the classes' scarcity is up to date
	free   int64   // thousandths of devices, of all nodes that take work
}

// site is a node as it is when empty.
type site struct {
	name     string
	order    int32 // rank by name
	class    int32
	rack     int32 // -1 is none
	feed     int32 // index of the power cap right above it, -1 is none
	cordoned bool
	capacity amounts
	idle     int64 // milliwatts
	ids      []string
}

// room is what is left of a node.
type room struct {
	free    amounts
	devices []device
	frag    int64 // expected fragmentation, see fragment.go
	held    int32 // tasks on it
	version uint32
}

// device is what is left of an accelerator.
type device struct {
	milli  int32 // thousandths
	kind   uint16
	domain uint16
	memory int64
}

type rack struct {
	name   string
	rooms  []int32
	limit  int64 // of its uplink
	uplink int64 // what is left of it
}

// NewHall is the empty hall. Of two nodes with one name the first counts. Mix may be empty: then nothing is known of
// what comes, and nodes are filled by name.
func NewHall(nodes []fleet.Node, caps []fleet.PowerCap, racks []fleet.Rack, mix Mix) *Hall {
	return newHall(nodes, caps, racks, mix, Weights{})
}

func newHall(nodes []fleet.Node, caps []fleet.PowerCap, racks []fleet.Rack, mix Mix, w Weights) *Hall {
	h := &Hall{weights: w.or(), shapes: map[shapeKey]*shape{}, domains: []string{""}, expect: mix.typical()}
	h.addCaps(caps)
	h.addNodes(nodes)
	h.addRacks(nodes, racks)
	h.setMix()
	return h
}

// addNodes lays the nodes out: those of one class beside each other and by name, in blocks.
func (h *Hall) addNodes(nodes []fleet.Node) {
	known := map[string]bool{}
	var list []*fleet.Node
	for i := range nodes {
		if n := &nodes[i]; !known[n.Name] {
			known[n.Name] = true
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *fleet.Node) int { return cmp.Compare(a.Name, b.Name) })
	classOf := h.classify(list)
	order := make([]int32, len(list))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(classOf[a], classOf[b]) })
	h.sites, h.rooms = make([]site, len(list)), make([]room, len(list))
	h.byName, h.byOrder = make(map[string]int32, len(list)), make([]int32, len(list))
	domains := map[string]uint16{"": 0}
	devices := 0
	for _, n := range list {
		devices += len(n.Accelerators)
	}
	all := make([]device, 0, devices)
	for i, o := range order {
		n, c := list[o], classOf[o]
		s := site{name: n.Name, order: o, class: c, rack: -1, feed: h.capNamed(n.Feed), cordoned: n.Cordoned, capacity: offers(*n), idle: watts(float64(n.IdleWatts))}
		from := len(all)
		for _, a := range n.Accelerators {
			d, ok := domains[a.Domain]
			if !ok {
				d = uint16(len(h.domains))
				domains[a.Domain], h.domains = d, append(h.domains, a.Domain)
			}
			all = append(all, device{milli: whole, kind: h.typeIndex(typeOf(a)), domain: d, memory: int64(a.Memory)})
			s.ids = append(s.ids, a.ID)
		}
		h.sites[i] = s
		h.rooms[i] = room{free: s.capacity, devices: all[from:len(all):len(all)]}
		h.byName[n.Name], h.byOrder[o] = int32(i), int32(i)
		h.draw(s.feed, s.idle)
		h.classes[c].add(int32(i), &h.sites[i], &h.rooms[i])
	}
	h.layBlocks()
}

// blockSize is how many nodes share one best score: finding a node costs a look at each block and at each node of one.
const blockSize = 32

func (h *Hall) layBlocks() {
	for c := range h.classes {
		k := &h.classes[c]
		k.firstBlock = int32(len(h.blocks))
		for i := k.first; i < k.last; i += blockSize {
			h.blocks = append(h.blocks, i)
		}
		k.lastBlock = int32(len(h.blocks))
	}
	h.blocks = append(h.blocks, int32(len(h.rooms)))
}

func (h *Hall) typeIndex(t deviceType) uint16 {
	if i := slices.Index(h.types, t); i >= 0 {
		return uint16(i)
	}
	h.types = append(h.types, t)
	return uint16(len(h.types) - 1)
}

func (h *Hall) addRacks(nodes []fleet.Node, racks []fleet.Rack) {
	at := map[string]int32{}
	for _, n := range nodes {
		if n.Rack != "" {
			at[n.Rack] = 0
		}
	}
	names := make([]string, 0, len(at))
	for name := range at {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		at[name] = int32(i)
		h.racks = append(h.racks, rack{name: name, limit: unlimited, uplink: unlimited})
	}
	for _, r := range racks {
		if i, ok := at[r.Name]; ok && r.Uplink > 0 {
			h.racks[i].limit, h.racks[i].uplink = int64(r.Uplink), int64(r.Uplink)
		}
	}
	for _, n := range nodes {
		if i := h.byName[n.Name]; n.Rack != "" && h.sites[i].rack < 0 {
			h.sites[i].rack = at[n.Rack]
			h.racks[at[n.Rack]].rooms = append(h.racks[at[n.Rack]].rooms, i)
		}
	}
	for i := range h.racks {
		slices.SortFunc(h.racks[i].rooms, func(a, b int32) int { return cmp.Compare(h.sites[a].order, h.sites[b].order) })
	}
}

// Clone is a hall of its own in the same state. It shares what does not change, and the rankings until one of the two
// needs a newer one.
func (h *Hall) Clone() *Hall {
	c := *h
	c.rooms = slices.Clone(h.rooms)
	devices := 0
	for i := range h.rooms {
		devices += len(h.rooms[i].devices)
	}
	all := make([]device, 0, devices)
	for i := range h.rooms {
		all = append(all, h.rooms[i].devices...)
	}
	for i := range c.rooms {
		n := len(c.rooms[i].devices)
		c.rooms[i].devices, all = all[:n:n], all[n:]
	}
	c.classes = slices.Clone(h.classes)
	c.caps = slices.Clone(h.caps)
	c.racks = slices.Clone(h.racks)
	h.log = h.log[:len(h.log):len(h.log)]
	c.log = h.log
	c.shapes = make(map[shapeKey]*shape, len(h.shapes))
	for k, s := range h.shapes {
		if s.rank != nil {
			s.rank.shared = true
		}
		mine := *s
		c.shapes[k] = &mine
	}
	return &c
}

// shape is an ask as the hall sees it.
type shape struct {
	ask   Ask
	need  amounts // power aside
	count int
	milli int32
	match matcher
	ok    []bool  // by device type
	power []int64 // by class: what a task draws there
	most  []int32 // by class: how many devices of the empty node it could use
	price []int32 // by class: see price.go
	rank  *ranking
}

type shapeKey struct {
	need         amounts
	count        int
	milli        int32
	memory       int64
	kind, models string
}

// shapeCells bounds what the rankings take: when the shapes times the nodes come to more, all rankings start again.
const shapeCells = 16 << 20

func (h *Hall) shapeOf(a Ask) *shape {
	k := shapeKey{need: needs(a), count: a.Accelerators, milli: a.milli(), memory: int64(a.AcceleratorMemory), kind: a.Kind}
	if len(a.Models) == 1 {
		k.models = a.Models[0]
	} else if len(a.Models) > 1 {
		k.models = strings.Join(a.Models, "|")
	}
	s, ok := h.shapes[k]
	if ok {
		return s
	}
	if len(h.shapes)*len(h.rooms) > shapeCells {
		h.forget()
	}
	s = &shape{ask: a, need: k.need, count: k.count, milli: k.milli, match: a.matcher()}
	for _, t := range h.types {
		s.ok = append(s.ok, s.match.takes(t))
	}
	for i := range h.classes {
		c := &h.classes[i]
		most, draw := int32(0), int64(0)
		for _, t := range c.types {
			if s.ok[t] {
				most++
				draw = max(draw, h.types[t].power)
			}
		}
		own := draw * int64(s.count) * int64(s.milli) / whole
		if s.need[power] > 0 {
			own = s.need[power]
		}
		s.most, s.power = append(s.most, most), append(s.power, own)
		s.price = append(s.price, h.price(s, c))
	}
	s.need[power] = 0
	h.byPower(s)
	h.shapes[k] = s
	return s
}

// forget drops all shapes with their rankings.
func (h *Hall) forget() {
	clear(h.shapes)
	h.epoch++
}

// Expect replaces the mix, for who learns it. It costs as much as a new hall.
func (h *Hall) Expect(m Mix) {
	h.expect = m.typical()
	h.setMix()
	h.forget()
}

// takes is how much of a device's memory the task takes.
func (s *shape) takes(t *deviceType) int64 {
	switch {
	case s.milli >= whole:
		return t.memory
	case s.match.memory > 0:
		return s.match.memory
	}
	return t.memory * int64(s.milli) / whole
}

// fitsDevice tells whether the task, or a part of it, can have the device.
func (h *Hall) fitsDevice(s *shape, d *device) bool {
	return d.milli >= s.milli && s.ok[d.kind] && (s.milli >= whole || d.memory >= s.takes(&h.types[d.kind]))
}

// The constraints that a node may fail, as bits: what a ranking keeps of a node that does not fit.
const (
	lackCPU = 1 << iota
	lackMemory
	lackDisk
	lackStorage
	lackBandwidth
	lackPower
	lackDevices  // it has them, and they are taken
	lackModel    // it has not so many even when empty
	lackCordon   // it takes no work
	lackPowerCap // of the hall: these three are never in a ranking
	lackUplink
	lackTopology
)

// lacks are all constraints that the node does not meet.
func (h *Hall) lacks(s *shape, i int32) (mask int32) {
	site, r := &h.sites[i], &h.rooms[i]
	for k := range power {
		if s.need[k] > r.free[k] {
			mask |= 1 << k
		}
	}
	if s.power[site.class] > r.free[power] {
		mask |= lackPower
	}
	if s.count > 0 {
		n := s.count
		for d := range r.devices {
			if h.fitsDevice(s, &r.devices[d]) {
				if n--; n == 0 {
					break
				}
			}
		}
		if n > 0 {
			mask |= lackDevices
			if int(s.most[site.class]) < s.count {
				mask ^= lackDevices | lackModel
			}
		}
	}
	if site.cordoned {
		mask |= lackCordon
	}
	return mask
}

// move takes for sign 1, and releases for -1.
func (h *Hall) move(i int32, s *shape, devices []int32, uplink, sign int64) {
	site, r := &h.sites[i], &h.rooms[i]
	c := &h.classes[site.class]
	for k := range power {
		r.free[k] -= sign * s.need[k]
	}
	r.free[power] -= sign * s.power[site.class]
	for _, d := range devices {
		v := &r.devices[d]
		v.milli -= int32(sign) * s.milli
		v.memory -= sign * s.takes(&h.types[v.kind])
		if !site.cordoned {
			c.free -= sign * int64(s.milli)
			h.free -= sign * int64(s.milli)
		}
	}
	h.draw(site.feed, sign*s.power[site.class])
	if site.rack >= 0 && h.racks[site.rack].limit < unlimited {
		h.racks[site.rack].uplink -= sign * uplink
	}
	r.held += int32(sign)
	r.frag = h.fragment(c, r.free[cpu], r.devices)
	r.version++
	h.log = append(h.log, i)
	if keep := 4 * len(h.rooms); len(h.log) > 2*keep+1024 {
		h.base += len(h.log) - keep
		h.log = slices.Clone(h.log[len(h.log)-keep:])
	}
	h.prices = false
}

// Take holds what a placement takes. What runs on a node that is not listed takes nothing; what runs on a node that has
// shrunk may take more than it has.
func (h *Hall) Take(p Placement) { h.hold(p, 1) }

// Release gives back what Take took.
func (h *Hall) Release(p Placement) { h.hold(p, -1) }

func (h *Hall) hold(p Placement, sign int64) {
	i, ok := h.byName[p.Node]
	if !ok || absurd(p.Ask) != "" {
		return
	}
	var devices [16]int32
	list := devices[:0]
	for _, id := range p.Accelerators {
		if d := slices.Index(h.sites[i].ids, id); d >= 0 {
			list = append(list, int32(d))
		}
	}
	a := p.Ask
	if a.Accelerators == 0 && len(list) > 0 {
		a.Accelerators = len(list) // it has them, whatever it asked for
	}
	h.move(i, h.shapeOf(a), list, int64(p.Uplink), sign)
}
