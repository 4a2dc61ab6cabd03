package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/fleet"
)

// Plan places the queue by first fit. It does not change the snapshot.
func Plan(s Snapshot) Schedule {
	free := rooms(s.Nodes, s.Running)
	queue := slices.Clone(s.Queue)
	slices.SortStableFunc(queue, before)
	out := Schedule{Decisions: make([]Decision, 0, len(queue))}
	for _, g := range queue {
		out.Decisions = append(out.Decisions, place(free, g))
	}
	return out
}

// Fits says why the gang can never run on these nodes, even if all were empty and uncordoned; nil when it can.
func Fits(nodes []fleet.Node, g Gang) []Reason {
	empty := slices.Clone(nodes)
	for i := range empty {
		empty[i].Cordoned = false
	}
	return place(rooms(empty, nil), g).Reasons
}

// before is the order of the queue.
func before(a, b Gang) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.Since.Compare(b.Since), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
}

// room is what is left of a node.
type room struct {
	node    fleet.Node
	cpu     float64
	memory  int64
	disk    int64
	devices []fleet.Accelerator
}

// rooms are the nodes by name, less what runs there. What runs on a node that is not listed takes nothing.
func rooms(nodes []fleet.Node, running []Running) []*room {
	free := make([]*room, 0, len(nodes))
	for _, n := range nodes {
		free = append(free, &room{node: n, cpu: n.CPU, memory: int64(n.Memory), disk: int64(n.Disk), devices: slices.Clone(n.Accelerators)})
	}
	slices.SortFunc(free, func(a, b *room) int { return cmp.Compare(a.node.Name, b.node.Name) })
	for _, g := range running {
		for _, p := range g.Placements {
			for _, r := range free {
				if r.node.Name == p.Node {
					r.take(p.Ask, p.Accelerators)
				}
			}
		}
	}
	return free
}

// slack absorbs the rounding of sums of fractional cores.
const slack = 1e-9

// lacks names the first constraint that the room does not meet, "" when the task fits.
func (r *room) lacks(a Ask) string {
	switch {
	case r.node.Cordoned:
		return "nodes"
	case r.cpu+slack < a.CPU:
		return "cpu"
	case r.memory < int64(a.Memory):
		return "memory"
	case r.disk < int64(a.Disk):
		return "disk"
	case a.Accelerators > len(r.matching(a.Models)):
		return "accelerators"
	}
	return ""
}

func (r *room) matching(models []string) []string {
	var ids []string
	for _, d := range r.devices {
		if len(models) == 0 || slices.Contains(models, d.Model) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func (r *room) take(a Ask, devices []string) {
	r.cpu -= a.CPU
	r.memory -= int64(a.Memory)
	r.disk -= int64(a.Disk)
	r.devices = slices.DeleteFunc(r.devices, func(d fleet.Accelerator) bool { return slices.Contains(devices, d.ID) })
}

// place puts the whole gang into the rooms, or leaves them as they were and says why.
func place(free []*room, g Gang) Decision {
	d := Decision{Gang: g.ID}
	trial := make([]*room, len(free))
	for i, r := range free {
		c := *r
		c.devices = slices.Clone(r.devices)
		trial[i] = &c
	}
	for done, task := range g.Tasks {
		i := slices.IndexFunc(trial, func(r *room) bool { return r.lacks(g.Each) == "" })
		if i < 0 {
			d.Placements, d.Reasons = nil, explain(trial, g, done)
			return d
		}
		p := Placement{Gang: g.ID, Task: task, Node: trial[i].node.Name, Ask: g.Each}
		if n := g.Each.Accelerators; n > 0 {
			p.Accelerators = trial[i].matching(g.Each.Models)[:n]
		}
		trial[i].take(g.Each, p.Accelerators)
		d.Placements = append(d.Placements, p)
	}
	for i := range free {
		*free[i] = *trial[i]
	}
	return d
}

// explain says what ruled the nodes out when `done` tasks of the gang were already placed: a reason for every
// constraint that at least one node fails first, the most frequent first.
func explain(trial []*room, g Gang, done int) []Reason {
	if len(trial) == 0 {
		return []Reason{{Constraint: "nodes", Needed: "1", Offered: "0", Detail: "no node is known"}}
	}
	count := map[string]int{}
	var order []string
	for _, r := range trial {
		c := r.lacks(g.Each)
		if count[c]++; count[c] == 1 {
			order = append(order, c)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	var out []Reason
	if len(g.Tasks) > 1 {
		out = append(out, Reason{
			Constraint: "gang", Needed: strconv.Itoa(len(g.Tasks)), Offered: strconv.Itoa(done),
			Detail: fmt.Sprintf("the %d tasks start together; %d of them fit now", len(g.Tasks), done),
		})
	}
	for _, c := range order {
		out = append(out, reason(c, count[c], trial, g.Each))
	}
	return out
}

// reason is the constraint with the most that one of the nodes it rules out offers.
func reason(constraint string, ruledOut int, trial []*room, a Ask) Reason {
	r := Reason{Constraint: constraint, Nodes: ruledOut}
	best := func(value func(*room) float64) (top float64, where string) {
		for _, t := range trial {
			if v := value(t); t.lacks(a) == constraint && (where == "" || v > top) {
				top, where = v, t.node.Name
			}
		}
		return top, where
	}
	var where string
	var top float64
	switch constraint {
	case "cpu":
		top, where = best(func(t *room) float64 { return t.cpu })
		r.Needed, r.Offered = number(a.CPU), number(max(top, 0))
	case "memory":
		top, where = best(func(t *room) float64 { return float64(t.memory) })
		r.Needed, r.Offered = a.Memory.String(), bytes(top)
	case "disk":
		top, where = best(func(t *room) float64 { return float64(t.disk) })
		r.Needed, r.Offered = a.Disk.String(), bytes(top)
	case "accelerators":
		top, where = best(func(t *room) float64 { return float64(len(t.matching(a.Models))) })
		r.Needed, r.Offered = strconv.Itoa(a.Accelerators), number(top)
		if len(a.Models) > 0 {
			r.Needed += " " + strings.Join(a.Models, " or ")
		}
	case "nodes":
		r.Needed, r.Offered = "a node that takes work", fmt.Sprintf("%d of %d", len(trial)-ruledOut, len(trial))
		r.Detail = fmt.Sprintf("%s cordoned; `lineshaft uncordon NODE` lets a node take work again", nodes(ruledOut))
		return r
	}
	r.Detail = fmt.Sprintf("%s ruled out by %s; of these %s offers the most", nodes(ruledOut), constraint, where)
	return r
}
