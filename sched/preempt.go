package sched

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/sched/queue"
)

// Eviction is a gang that is told to stop, whole or in part, so that another may start. It is given the grace to write a
// checkpoint and goes back to the queue; its wait counts anew, and once it has waited for Policy.Overdue it runs for a
// quantum before all that is not overdue, so nothing starves.
type Eviction struct {
	Gang  string
	Tasks []int     // of an elastic gang that shrinks: the tasks that stop; all when empty
	Why   string    // priority, reclaim, order, overdue, shrink
	By    time.Time // the end of its grace
}

// maxVictims bounds the search for victims of one gang.
const maxVictims = 256

// victim is what may be stopped for a gang.
type victim struct {
	run   *runner
	why   string
	tasks []int // when it only shrinks
	index float64
}

// why says why the running gang may be stopped for g, "" when it may not.
func (p *planner) may(t *turn, r *runner) string {
	v := &r.Gang
	pre := &p.s.Policy.Preempt
	if !v.Preemptible || !r.Stopping.IsZero() || r.evicted || len(r.Placements) == 0 {
		return ""
	}
	if !p.line.Same(t.Turn, r.claim) {
		if pre.Reclaim && p.line.Reclaim(t.Turn, r.claim) {
			return "reclaim"
		}
		return ""
	}
	switch g := t.gang; {
	case pre.Priority && g.Priority > v.Priority:
		return "priority"
	case !pre.Order || g.Priority < v.Priority || r.kept(p.s.Now, &p.s.Policy):
		return ""
	case t.overdue:
		return "overdue"
	case t.index*p.margin()+p.cost() < r.index:
		return "order"
	}
	return ""
}

func (p *planner) margin() float64 {
	if m := p.s.Policy.Preempt.Margin; m > 0 {
		return m
	}
	return 2
}

// cost is what stopping costs, in the unit of the index.
func (p *planner) cost() float64 {
	switch p.s.Policy.Order {
	case SJF, SRTF, Foresight:
		return p.s.Policy.Preempt.Cost.Seconds()
	}
	return 0
}

// kept is whether it was started as overdue and its quantum is not over.
func (r *Running) kept(now time.Time, p *Policy) bool {
	return r.Kept && now.Sub(r.Started) < p.Quantum
}

// victims are all that may be stopped for the gang, the first to go first: what is elastic shrinks before anything is
// stopped whole; then by priority, by index, and what has run the shortest time since it started.
func (p *planner) victims(t *turn) []victim {
	var whole, parts []victim
	for i := range p.running {
		r := &p.running[i]
		why := p.may(t, r)
		if why == "" {
			continue
		}
		whole = append(whole, victim{run: r, why: why, index: r.index})
		if least := r.Gang.Min; r.shrunk == 0 && least > 0 && len(r.Placements) > least {
			var tasks []int
			for _, pl := range r.Placements[least:] {
				tasks = append(tasks, pl.Task)
			}
			parts = append(parts, victim{run: r, why: "shrink", tasks: tasks, index: r.index})
		}
	}
	order := func(a, b victim) int {
		return cmp.Or(
			cmp.Compare(a.run.Gang.Priority, b.run.Gang.Priority), cmp.Compare(b.index, a.index),
			b.run.Started.Compare(a.run.Started), cmp.Compare(a.run.Gang.ID, b.run.Gang.ID))
	}
	slices.SortFunc(whole, order)
	if p.s.Policy.Preempt.One {
		whole = slices.DeleteFunc(whole, func(v victim) bool { return v.run.Gang.devices() < t.gang.devices() })
		return whole[:min(len(whole), 1)]
	}
	slices.SortFunc(parts, order)
	all := append(parts, whole...)
	return all[:min(len(all), maxVictims)]
}

// evict looks for what to stop so that the gang fits, stops no more than needed, and gives the gang its places.
func (p *planner) evict(t *turn, d *Decision) bool {
	if pre := p.s.Policy.Preempt; !pre.Priority && !pre.Reclaim && !pre.Order {
		return false
	}
	if p.wait(t, d) {
		return true
	}
	k := p.kinOf(t)
	if p.depth <= 0 || k.hopeless == p.opened {
		return false
	}
	p.depth--
	list := p.victims(t)
	taken := 0
	for taken < len(list) {
		p.stop(&list[taken])
		taken++
		if places := p.fits(t); places != nil {
			if p.spare(t, list[:taken], places, d) {
				return true
			}
			k.hopeless = p.opened
			return false
		}
	}
	for i := taken - 1; i >= 0; i-- {
		p.restore(&list[i])
	}
	k.hopeless = p.opened
	return false
}

// fits places the gang if quota and hall allow; the hall keeps the places.
func (p *planner) fits(t *turn) []Placement {
	if p.line.Over(*t.Turn) != nil {
		return nil
	}
	places := p.hall.attempt(*t.gang)
	if places != nil && p.conflict(t.gang, places) != nil {
		p.release(places)
		return nil
	}
	return places
}

// spare lets run on what need not stop after all, the last to go first, and writes down the rest. Should the gang no
// longer fit where it did, all run on and the search is given up.
func (p *planner) spare(t *turn, list []victim, places []Placement, d *Decision) bool {
	kept := make([]bool, len(list))
	within := make([]bool, len(list)) // a part of what stops whole
	for i := len(list) - 2; i >= 0; i-- {
		if len(list[i].tasks) > 0 && list[i].run.stopped {
			kept[i], within[i] = true, true
			continue
		}
		p.release(places)
		p.restore(&list[i])
		if again := p.fits(t); again != nil {
			kept[i], places = true, again
			continue
		}
		p.stop(&list[i])
		if places = p.fits(t); places == nil {
			for k := len(list) - 1; k >= 0; k-- {
				if !kept[k] || within[k] {
					p.restore(&list[k])
				}
			}
			return false
		}
	}
	by := p.s.Now.Add(p.s.Policy.Preempt.Grace)
	for i := range list {
		v := &list[i]
		if kept[i] {
			continue
		}
		if len(v.tasks) == 0 {
			v.run.evicted = true
		}
		p.stops = true
		d.Evictions = append(d.Evictions, Eviction{Gang: v.run.Gang.ID, Tasks: v.tasks, Why: v.why, By: by})
	}
	if p.s.Policy.Preempt.Grace > 0 { // until then what they hold is not free for others, nor in their queues' limits
		for i := range list {
			if !kept[i] {
				p.hall.Start(list[i].part())
				p.line.Return(p.claim(list[i].part()))
			}
		}
	}
	d.Placements = places
	p.opened++
	return true
}

// part is what of the running gang the victim gives up.
func (v *victim) part() Running {
	if len(v.tasks) == 0 {
		return *v.run.Running
	}
	r := *v.run.Running
	r.Placements = r.Placements[len(r.Placements)-len(v.tasks):]
	return r
}

func (p *planner) stop(v *victim) {
	part := v.part()
	if len(v.tasks) == 0 && v.run.shrunk > 0 {
		part.Placements = part.Placements[:len(part.Placements)-v.run.shrunk]
	}
	p.hall.Stop(part)
	p.line.Release(p.claim(part))
	if len(v.tasks) > 0 {
		v.run.shrunk = len(v.tasks)
	} else {
		v.run.stopped = true
	}
}

func (p *planner) restore(v *victim) {
	if len(v.tasks) > 0 {
		v.run.shrunk = 0
	} else {
		v.run.stopped = false
	}
	part := v.part()
	if len(v.tasks) == 0 && v.run.shrunk > 0 {
		part.Placements = part.Placements[:len(part.Placements)-v.run.shrunk]
	}
	p.hall.Start(part)
	p.line.Return(p.claim(part))
}

func (p *planner) release(places []Placement) {
	for _, pl := range places {
		p.hall.Release(pl)
	}
}

// claim is what the running gang, or the part of it, counts for in its queue.
func (p *planner) claim(r Running) queue.Claim { return p.tree.Claim(r.Use()) }

// wait lets the gang wait for what was told to stop before, and keeps its places for it.
func (p *planner) wait(t *turn, d *Decision) bool {
	if len(p.stopping) == 0 {
		return false
	}
	var by time.Time
	for _, r := range p.stopping {
		p.hall.Stop(*r.Running)
		p.line.Release(r.claim)
		if r.Stopping.After(by) {
			by = r.Stopping
		}
	}
	places := p.fits(t)
	for _, r := range p.stopping {
		p.hall.Start(*r.Running)
		p.line.Return(r.claim)
	}
	if places == nil {
		return false
	}
	d.Earliest, d.Confidence = by, 0.99
	d.Reasons = []Reason{{
		Constraint: "stopping", Needed: "that they have stopped", Offered: fmt.Sprintf("%d still write their checkpoints", len(p.stopping)),
		Detail: fmt.Sprintf("%s makes room for it by %s", p.stopping[0].Gang.ID, minute(by)),
	}}
	return true
}
