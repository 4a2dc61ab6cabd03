package calendar

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/nearest"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// What is reserved becomes nodes and devices here.

// free is what of a node no other reservation of the time has.
type free struct {
	node    fleet.Node
	devices []string // of the model that is asked for
	whole   bool     // nobody has any of it
	other   string   // who has some of it
}

// resolve finds the room.
func (q *Request) resolve(nodes []fleet.Node, others []Reservation) ([]Room, error) {
	list := make([]free, len(nodes))
	for i, n := range nodes {
		list[i] = q.freeOf(n, others)
	}
	switch {
	case len(q.Nodes) > 0:
		return q.named(list)
	case q.Count > 0:
		return q.wholes(list)
	}
	return q.devices(list)
}

// freeOf is what of the node is left in the request's time.
func (q *Request) freeOf(n fleet.Node, others []Reservation) free {
	f := free{node: n, whole: true}
	taken := map[string]bool{}
	for _, o := range others {
		if !o.From.Before(q.To) || !q.From.Before(o.To) {
			continue
		}
		for _, room := range o.Room {
			if room.Node != n.Name {
				continue
			}
			f.whole, f.other = false, o.Name
			for _, a := range n.Accelerators {
				if len(room.Accelerators) == 0 || slices.Contains(room.Accelerators, a.ID) {
					taken[a.ID] = true
				}
			}
		}
	}
	for _, a := range n.Accelerators {
		if !taken[a.ID] && (q.Model == "" || a.Model == q.Model) {
			f.devices = append(f.devices, a.ID)
		}
	}
	return f
}

// named are the nodes that the request names.
func (q *Request) named(list []free) ([]Room, error) {
	const op = "calendar.Add"
	var out []Room
	for _, name := range q.Nodes {
		i := slices.IndexFunc(list, func(f free) bool { return f.node.Name == name })
		switch {
		case i < 0:
			var names []string
			for _, f := range list {
				names = append(names, f.node.Name)
			}
			hint := "`lineshaft fleet` lists them"
			if best := nearest.Name(name, names); best != "" {
				hint = fmt.Sprintf("did you mean %q?", best)
			}
			return nil, errs.Errorf(op, errs.Invalid, "no node %q; %s", name, hint)
		case slices.ContainsFunc(out, func(r Room) bool { return r.Node == name }):
			return nil, errs.Errorf(op, errs.Invalid, "node %q is named twice", name)
		case !list[i].whole:
			return nil, errs.Errorf(op, errs.Conflict, "node %q is reserved by %q in that time; `lineshaft reservations` shows when", name, list[i].other)
		}
		out = append(out, Room{Node: name})
	}
	return out, nil
}

// wholes are so many nodes: those that take work first, then those with the least that is not asked for.
func (q *Request) wholes(list []free) ([]Room, error) {
	fit := slices.DeleteFunc(slices.Clone(list), func(f free) bool {
		return !f.whole || q.Model != "" && len(f.devices) == 0
	})
	if len(fit) < q.Count {
		return nil, q.tooFew(q.Count, len(fit), "nodes", list)
	}
	slices.SortStableFunc(fit, func(a, b free) int {
		return cmp.Or(cordoned(a)-cordoned(b), len(a.devices)-len(b.devices), strings.Compare(a.node.Name, b.node.Name))
	})
	var out []Room
	for _, f := range fit[:q.Count] {
		out = append(out, Room{Node: f.node.Name})
	}
	slices.SortFunc(out, func(a, b Room) int { return strings.Compare(a.Node, b.Node) })
	return out, nil
}

// devices are so many accelerators on as few nodes as can be: the nodes with the most first, the last of the one that is
// left with the least.
func (q *Request) devices(list []free) ([]Room, error) {
	sum := 0
	for _, f := range list {
		sum += len(f.devices)
	}
	if sum < q.Accelerators {
		return nil, q.tooFew(q.Accelerators, sum, "accelerators", list)
	}
	rest := slices.Clone(list)
	slices.SortStableFunc(rest, func(a, b free) int {
		return cmp.Or(cordoned(a)-cordoned(b), len(b.devices)-len(a.devices), strings.Compare(a.node.Name, b.node.Name))
	})
	var out []Room
	for need := q.Accelerators; need > 0; {
		at := 0
		for i, f := range rest { // the smallest that holds all that is left
			if cordoned(f) == cordoned(rest[0]) && len(f.devices) >= need && len(f.devices) <= len(rest[at].devices) && (i == 0 || len(f.devices) < len(rest[at].devices)) {
				at = i
			}
		}
		f := rest[at]
		n := min(need, len(f.devices))
		need -= n
		rest = slices.Delete(rest, at, at+1)
		if n > 0 {
			out = append(out, Room{Node: f.node.Name, Accelerators: f.devices[:n]})
		}
	}
	slices.SortFunc(out, func(a, b Room) int { return strings.Compare(a.Node, b.Node) })
	return out, nil
}

func cordoned(f free) int {
	if f.node.Cordoned {
		return 1
	}
	return 0
}

func (q *Request) tooFew(asked, have int, what string, list []free) error {
	model := ""
	if q.Model != "" {
		model = " of model " + q.Model
	}
	var taken []string
	for _, f := range list {
		if f.other != "" && !slices.Contains(taken, f.other) {
			taken = append(taken, f.other)
		}
	}
	why := ""
	if len(taken) > 0 {
		why = fmt.Sprintf(" beside what is reserved by %s", strings.Join(taken, ", "))
	}
	return errs.Errorf("calendar.Add", errs.Conflict, "from %s to %s there are %d %s%s free to reserve%s, and %d are asked for",
		q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339), have, what, model, why, asked)
}

// places are the room as the scheduler takes it: each device with its part of the node.
func (r Room) places(n fleet.Node) []sched.Placement {
	d := len(n.Accelerators)
	if d == 0 {
		return []sched.Placement{{Node: n.Name, Ask: sched.Ask{CPU: n.CPU, Memory: n.Memory, Disk: n.Disk, Storage: n.Storage, Bandwidth: n.Bandwidth}}}
	}
	part := sched.Ask{
		CPU: n.CPU / float64(d), Memory: n.Memory / units.Bytes(d), Disk: n.Disk / units.Bytes(d),
		Storage: n.Storage / units.Bytes(d), Bandwidth: n.Bandwidth / units.BitsPerSecond(d), Accelerators: 1,
	}
	var out []sched.Placement
	for _, a := range n.Accelerators {
		if len(r.Accelerators) == 0 || slices.Contains(r.Accelerators, a.ID) {
			out = append(out, sched.Placement{Node: n.Name, Ask: part, Accelerators: []string{a.ID}})
		}
	}
	return out
}
