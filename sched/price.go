package sched

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/fleet"
)

// Two prices keep a task off what others need more. Both are in the unit of the score, a hundredth of a device.
//
// The price of congestion comes from a small transport problem: the mix, as much as would fill all devices, is spread
// over the classes of nodes so that nothing is cheaper elsewhere, and a class's devices and cores cost the more the
// fuller they get. So tasks with many cores for each device go where there are many, and those with few leave these alone.
//
// The price of scarcity holds back what is bound to come: of the mix, the part that can use few of the hall's devices
// claims its share of what is still free, and a class of which the claims take much is dear. It falls and rises with
// what is free, so that unbound work takes the others first.

// Constants of the transport problem.
const (
	priceRounds = 200
	steepness   = 8    // a price is utilisation to this power
	smoothing   = 0.1  // how much dearer a class may be and still get a part
	fullest     = 1.05 // beyond which a price does not rise
	dearest     = 1.2  // the same of scarcity
)

type classPrices struct {
	device, core float64 // of congestion; of one device, of one core
	bound        float64 // part of the mix's devices that is bound to this class
	scarce       int32   // price of scarcity now
}

// classify gives each node, in order of names, its class.
func (h *Hall) classify(nodes []*fleet.Node) []int32 {
	at := map[string]int32{}
	out := make([]int32, len(nodes))
	for i, n := range nodes {
		var types []uint16
		for _, a := range n.Accelerators {
			types = append(types, h.typeIndex(typeOf(a)))
		}
		slices.Sort(types)
		var key []byte
		for _, t := range types {
			key = binary.LittleEndian.AppendUint16(key, t)
		}
		if len(types) > 0 { // in steps of a fifth, so that halls of motley nodes have few classes
			step := math.Round(5 * math.Log(max(n.CPU, 1e-6)/float64(len(types))))
			key = binary.LittleEndian.AppendUint16(key, uint16(int16(step)))
		}
		c, ok := at[string(key)]
		if !ok {
			c = int32(len(h.classes))
			at[string(key)] = c
			h.classes = append(h.classes, class{types: types, first: -1, uniform: len(types) == 0 || types[0] == types[len(types)-1]})
		}
		out[i] = c
	}
	return out
}

// add counts a node to its class.
func (c *class) add(i int32, s *site, r *room) {
	if c.first < 0 {
		c.first = i
	}
	c.last = i + 1
	if s.cordoned {
		return
	}
	c.free += int64(len(r.devices)) * whole
	c.devices += float64(len(r.devices))
	c.cores += float64(s.capacity[cpu]) / 1e6
}

// demand is a shape of the mix in the transport problem.
type demand struct {
	devices, cores float64 // of one task
	tasks          float64
	unit           float64 // the greater of its devices and its cores, these in devices
	able           []bool  // by class
}

// demands are the mix as much as would take all devices; nil when there is nothing to price.
func (h *Hall) demands() (out []demand, ratio float64) {
	var devices, cores, asked float64
	for i := range h.classes {
		devices += h.classes[i].devices
		cores += h.classes[i].cores
	}
	for _, e := range h.expect {
		asked += e.part * float64(e.count) * float64(e.milli) / whole
	}
	if len(h.classes) < 2 || devices == 0 || cores == 0 || asked == 0 {
		return nil, 0
	}
	ratio = cores / devices
	for _, e := range h.expect {
		d := demand{devices: float64(e.count) * float64(e.milli) / whole, cores: float64(e.need[cpu]) / 1e6, tasks: e.part / asked * devices}
		d.unit = max(d.devices, d.cores/ratio, 1e-9)
		for i := range h.classes {
			c := &h.classes[i]
			able := 0
			for _, t := range c.types {
				if e.match.takes(h.types[t]) {
					able++
				}
			}
			roomy := slices.ContainsFunc(h.sites[c.first:c.last], func(s site) bool { return !s.cordoned && s.capacity[cpu] >= e.need[cpu] })
			d.able = append(d.able, able >= e.count && roomy)
		}
		out = append(out, d)
	}
	return out, ratio
}

// setPrices solves the transport problem by rounds: each shape goes where it is cheapest, the cheaper the more of it, and
// the prices follow the mean of all rounds.
func (h *Hall) setPrices() {
	for i := range h.classes {
		h.classes[i].prices = classPrices{}
	}
	h.prices = false
	list, ratio := h.demands()
	if list == nil {
		return
	}
	n := len(h.classes)
	devices, cores := make([]float64, n), make([]float64, n) // mean use
	used, busy := make([]float64, n), make([]float64, n)     // of this round
	cost := make([]float64, n)
	for round := range priceRounds {
		for i := range h.classes {
			c := &h.classes[i]
			c.prices.device, c.prices.core = toll(devices[i], c.devices), toll(cores[i], c.cores)/ratio
		}
		clear(used)
		clear(busy)
		for _, d := range list {
			h.spread(d, ratio, cost, used, busy)
		}
		step := max(2/float64(round+2), 0.01)
		for i := range n {
			devices[i] += step * (used[i] - devices[i])
			cores[i] += step * (busy[i] - cores[i])
		}
	}
	h.bind(list)
}

func toll(use, capacity float64) float64 {
	if capacity == 0 {
		return 0
	}
	return math.Pow(min(use/capacity, fullest), steepness)
}

// spread adds what a shape uses of each class.
func (h *Hall) spread(d demand, ratio float64, cost, used, busy []float64) {
	low := math.Inf(1)
	for i := range h.classes {
		cost[i] = math.Inf(1)
		if d.able[i] {
			cost[i] = d.devices*h.classes[i].prices.device + d.cores*h.classes[i].prices.core
			low = min(low, cost[i])
		}
	}
	if math.IsInf(low, 1) {
		return
	}
	var sum float64
	for i := range cost {
		if c := &h.classes[i]; d.able[i] {
			cost[i] = math.Exp((low-cost[i])/(smoothing*d.unit)) * max(c.devices, c.cores/ratio)
			sum += cost[i]
		} else {
			cost[i] = 0
		}
	}
	for i, part := range cost {
		if part > 0 {
			used[i] += d.tasks * part / sum * d.devices
			busy[i] += d.tasks * part / sum * d.cores
		}
	}
}

// bind finds what part of the mix is bound to each class. A shape that can use a part a of all devices is bound by 1-a.
func (h *Hall) bind(list []demand) {
	var all, asked float64
	for i := range h.classes {
		all += h.classes[i].devices
	}
	for _, d := range list {
		asked += d.tasks * d.devices
	}
	for _, d := range list {
		var able float64
		for i := range h.classes {
			if d.able[i] {
				able += h.classes[i].devices
			}
		}
		if d.devices == 0 || able == 0 {
			continue
		}
		for i := range h.classes {
			if c := &h.classes[i]; d.able[i] {
				c.prices.bound += d.tasks * d.devices / asked * c.devices / able * (1 - able/all)
			}
		}
	}
}

// fine is the part of a score below its unit, for ties.
const fine = 256

// price is what a shape pays for the class, scarcity aside.
func (h *Hall) price(s *shape, c *class) int32 {
	if c.last == c.first {
		return 0
	}
	devices, cores := float64(s.count)*float64(s.milli)/whole, float64(s.need[cpu])/1e6
	var all, allCores float64
	for i := range h.classes {
		all += h.classes[i].devices
		allCores += h.classes[i].cores
	}
	p := int32(0)
	if unit := max(devices, cores*all/max(allCores, 1e-9)); unit > 0 && all > 0 {
		p = int32(math.Floor(h.weights.Congestion*(devices*c.prices.device+cores*c.prices.core)/unit)) * fine
	}
	return p
}

// scarcity brings the classes' prices of scarcity up to date.
func (h *Hall) scarcity() {
	if h.prices {
		return
	}
	h.prices = true
	h.free = 0
	for i := range h.classes {
		h.free += h.classes[i].free
	}
	for i := range h.classes {
		c := &h.classes[i]
		claim := c.prices.bound * float64(h.free) / float64(max(c.free, 1))
		c.prices.scarce = int32(math.Floor(h.weights.Scarcity*min(claim, dearest))) * fine
	}
}

// byPower adds the price of drawing more than elsewhere.
func (h *Hall) byPower(s *shape) {
	if len(s.power) == 0 || slices.Min(s.power) <= 0 {
		return
	}
	least := slices.Min(s.power)
	for i := range s.price {
		more := float64(s.power[i]-least) / float64(least) * 2
		s.price[i] += int32(math.Floor(h.weights.Power*min(more, 2))) * fine
	}
}
