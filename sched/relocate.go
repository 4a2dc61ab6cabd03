package sched

import (
	"cmp"
	"slices"
	"time"
)

// Relocation is running gangs that would go on elsewhere, and what that is good for. Every place that they go to is
// free now, so none waits for another. Gangs move by checkpoint and restart, whole: who moves one task stops all.
type Relocation struct {
	Gangs    []Relocated
	Starts   string    // the waiting gang that starts once they have gone; empty when it is done for what it frees
	Earliest time.Time // when that gang is expected to start otherwise; zero when nobody knows
	Frees    []Placement
}

// Relocated is one gang that moves.
type Relocated struct {
	Gang     string
	From, To []Placement // of all its tasks, in the same order
}

// RelocateOptions bound the search. A zero field takes the default.
type RelocateOptions struct {
	Settled time.Duration // a gang that has run for less stays; 10 min
	Most    int           // tasks that move in one relocation; 4
	Tries   int           // waiting gangs that are tried; 8
}

func (o RelocateOptions) defaults() RelocateOptions {
	o.Settled = cmp.Or(o.Settled, 10*time.Minute)
	o.Most = cmp.Or(o.Most, 4)
	o.Tries = cmp.Or(o.Tries, 8)
	return o
}

// Relocate looks for moves of preemptible gangs that start a waiting gang which finds no room, and for moves that empty
// an accelerator of which only parts are taken. Each was planned with everything else as it is: the gang named starts,
// and nobody else who would start stays behind, or starts later than the plan s has it. decisions are Plan(s)'s. While
// something stops or starts nothing is found, for then the hall is about to change.
func Relocate(s Snapshot, decisions []Decision, o RelocateOptions) []Relocation {
	r := &relocator{s: s, decisions: decisions, o: o.defaults()}
	if !r.quiet() {
		return nil
	}
	r.hall = s.hall()
	for _, run := range s.Running {
		r.hall.Start(run)
	}
	out := r.forWaiting()
	return append(out, r.parts()...)
}

type relocator struct {
	s         Snapshot
	decisions []Decision
	o         RelocateOptions
	hall      *Hall // as it is, and what was found so far taken as well
}

// quiet tells whether there is something that may move and nothing that is about to.
func (r *relocator) quiet() bool {
	some := false
	for i := range r.s.Running {
		run := &r.s.Running[i]
		if !run.Stopping.IsZero() {
			return false
		}
		some = some || r.movable(run)
	}
	return some && !slices.ContainsFunc(r.decisions, starts)
}

func (r *relocator) movable(run *Running) bool {
	return run.Gang.Preemptible && run.Stopping.IsZero() && !run.Started.IsZero() && r.s.Now.Sub(run.Started) >= r.o.Settled &&
		run.Gang.Topology.Level == "" && len(run.Placements) > 0
}

// forWaiting tries the first gangs that wait for room; what is found for the first of them is one relocation.
func (r *relocator) forWaiting() []Relocation {
	tries := 0
	for _, d := range r.decisions {
		i := slices.IndexFunc(r.s.Queue, func(g Gang) bool { return g.ID == d.Gang })
		if i < 0 || !roomOnly(d.Reasons) {
			continue
		}
		if tries++; tries > r.o.Tries {
			break
		}
		m := NewMover(r.s.hall())
		for k := range r.s.Running {
			m.Start(r.s.Running[k], r.movable(&r.s.Running[k]))
		}
		got, moves := m.Place(r.s.Queue[i], false, r.o.Most)
		if len(got.Placements) == 0 || len(moves) == 0 {
			continue
		}
		found := Relocation{Gangs: r.gangs(moves), Starts: d.Gang, Earliest: d.Earliest}
		if r.holds(found) {
			return []Relocation{found}
		}
	}
	return nil
}

// roomOnly tells whether the reasons are all of what nodes lack.
func roomOnly(reasons []Reason) bool {
	for _, r := range reasons {
		switch r.Constraint {
		case "quota", "time", "array", "window", "order", "queue", "policy":
			return false
		}
	}
	return len(reasons) > 0
}

// gangs puts the moves of tasks together by gang, with the tasks that stay.
func (r *relocator) gangs(moves []Move) (out []Relocated) {
	for i := range r.s.Running {
		run := &r.s.Running[i]
		var to []Placement
		moved := false
		for _, p := range run.Placements {
			if k := slices.IndexFunc(moves, func(m Move) bool { return m.From.Gang == p.Gang && m.From.Task == p.Task }); k >= 0 {
				q := moves[k].To
				q.Ask, moved = p.Ask, true
				to = append(to, q)
			} else {
				to = append(to, p)
			}
		}
		if moved {
			out = append(out, Relocated{Gang: run.Gang.ID, From: run.Placements, To: to})
		}
	}
	return out
}

// holds tells whether the new places are free in the hall as it is, with the old ones still held, and kept by nobody,
// and the plan is the better for it. Then they are taken, so that the next relocation goes elsewhere.
func (r *relocator) holds(found Relocation) bool {
	var all []Placement
	for _, g := range found.Gangs {
		for i, p := range g.To {
			if p.same(g.From[i]) {
				continue
			}
			if r.s.reserved(p.Node) {
				return false
			}
			all = append(all, p)
		}
	}
	if !r.hall.admits(all) || !r.better(found) {
		return false
	}
	for _, p := range all {
		r.hall.Take(p)
	}
	return true
}

// better plans with the gangs in their new places.
func (r *relocator) better(found Relocation) bool {
	s := r.s
	s.Running = slices.Clone(s.Running)
	for i := range s.Running {
		if k := slices.IndexFunc(found.Gangs, func(g Relocated) bool { return g.Gang == s.Running[i].Gang.ID }); k >= 0 {
			s.Running[i].Placements = found.Gangs[k].To
		}
	}
	after := map[string]Decision{}
	for _, d := range Plan(s).Decisions {
		after[d.Gang] = d
	}
	if found.Starts != "" && (len(after[found.Starts].Placements) == 0 || len(after[found.Starts].Evictions) > 0) {
		return false
	}
	for _, d := range r.decisions {
		now := after[d.Gang]
		if len(now.Placements) == 0 && !d.Earliest.IsZero() && (now.Earliest.IsZero() || now.Earliest.After(d.Earliest)) {
			return false
		}
	}
	return true
}

// seat is an accelerator of which parts are taken, and who has them.
type seat struct {
	room, device int32
	used         int32 // thousandths
	tasks        []Placement
}

func (s *seat) key() [2]int32 { return [2]int32{s.room, s.device} }

// parts empties accelerators of which little is taken into others of which something is left.
func (r *relocator) parts() (out []Relocation) {
	seats := r.seats()
	done := map[[2]int32]bool{} // emptied or filled
	for i := range seats {
		from := &seats[i]
		if len(from.tasks) == 0 || len(from.tasks) > r.o.Most || done[from.key()] {
			continue
		}
		moves := r.empty(from, seats, done)
		if moves == nil {
			continue
		}
		found := Relocation{Gangs: r.gangs(moves), Frees: []Placement{{
			Node: r.hall.sites[from.room].name, Accelerators: []string{r.hall.sites[from.room].ids[from.device]},
		}}}
		if !r.holds(found) {
			continue
		}
		done[from.key()] = true
		for _, m := range moves {
			room := r.hall.byName[m.To.Node]
			done[[2]int32{room, int32(slices.Index(r.hall.sites[room].ids, m.To.Accelerators[0]))}] = true
		}
		out = append(out, found)
	}
	return out
}

// seats are the accelerators of which parts are taken, the emptiest first. Those of which a task may not move have no
// tasks listed.
func (r *relocator) seats() (out []seat) {
	at := map[[2]int32]int{}
	fixed := map[int]bool{}
	for i := range r.s.Running {
		run := &r.s.Running[i]
		for _, p := range run.Placements {
			room, ok := r.hall.byName[p.Node]
			if !ok || len(p.Accelerators) != 1 || p.Ask.milli() >= whole {
				continue
			}
			device := slices.Index(r.hall.sites[room].ids, p.Accelerators[0])
			if device < 0 {
				continue
			}
			key := [2]int32{room, int32(device)}
			k, known := at[key]
			if !known {
				k = len(out)
				at[key] = k
				out = append(out, seat{room: room, device: int32(device), used: whole - r.hall.rooms[room].devices[device].milli})
			}
			out[k].tasks = append(out[k].tasks, p)
			fixed[k] = fixed[k] || !r.movable(run) || len(run.Placements) > 1
		}
	}
	for k := range out {
		if fixed[k] {
			out[k].tasks = nil
		}
	}
	slices.SortStableFunc(out, func(a, b seat) int {
		return cmp.Or(cmp.Compare(a.used, b.used), cmp.Compare(r.hall.sites[a.room].order, r.hall.sites[b.room].order), cmp.Compare(a.device, b.device))
	})
	return out
}

// empty moves the tasks of an accelerator, each to the fullest other one that has room; nil when one finds none.
func (r *relocator) empty(from *seat, seats []seat, done map[[2]int32]bool) []Move {
	var moves []Move
	for _, p := range from.tasks {
		to, ok := r.fullest(p, from, seats, done)
		if !ok {
			break
		}
		r.hall.Take(to)
		moves = append(moves, Move{From: p, To: to})
	}
	for _, m := range moves {
		r.hall.Release(m.To)
	}
	if len(moves) < len(from.tasks) {
		return nil
	}
	return moves
}

func (r *relocator) fullest(p Placement, from *seat, seats []seat, done map[[2]int32]bool) (Placement, bool) {
	for i := len(seats) - 1; i >= 0; i-- {
		t := &seats[i]
		site := &r.hall.sites[t.room]
		if t.key() == from.key() || done[t.key()] || site.cordoned || r.s.reserved(site.name) {
			continue
		}
		q := p
		q.Node, q.Accelerators = site.name, []string{site.ids[t.device]}
		if r.hall.admits([]Placement{q}) {
			return q, true
		}
	}
	return Placement{}, false
}

// Free tells whether all the places are free at once, in a hall that is as the snapshot says: nobody has them, was promised
// them, or keeps room on their nodes by the calendar.
func Free(s Snapshot, places []Placement) bool {
	h := NewHall(s.Nodes, s.Caps, s.Racks, nil)
	for _, run := range s.Running {
		h.Start(run)
	}
	promised := func(g *Gang, has []Placement) {
		for _, p := range g.Claim {
			if !slices.ContainsFunc(has, p.same) && h.admit(p) {
				h.Take(p)
			}
		}
	}
	for i := range s.Running {
		if r := &s.Running[i]; !r.Stopping.IsZero() {
			promised(&r.Gang, r.Placements)
		}
	}
	for i := range s.Queue {
		promised(&s.Queue[i], nil)
	}
	return !slices.ContainsFunc(places, func(p Placement) bool {
		i, ok := h.byName[p.Node]
		return !ok || h.sites[i].cordoned || s.reserved(p.Node)
	}) && h.admits(places)
}

// reserved tells whether the calendar keeps room on the node, now or later.
func (s *Snapshot) reserved(node string) bool {
	return slices.ContainsFunc(s.Reservations, func(v Reservation) bool {
		return v.Span.To.After(s.Now) && slices.ContainsFunc(v.Room, func(p Placement) bool { return p.Node == node })
	})
}
