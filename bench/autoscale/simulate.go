package main

import (
	"container/heap"
	"time"
)

// request is one request of a trace: when it comes and how long a replica works on it.
type request struct {
	at   time.Duration
	work time.Duration
}

// hall is what is simulated: replicas of a service behind one queue, as serve/upstream keeps it. A replica is paid for
// from the moment it is wanted to the moment it is gone; one that is to go ends the requests that it has first.
type hall struct {
	slots int           // requests that a replica works on at once
	start time.Duration // from wanted to ready
	slo   time.Duration // a request that waits longer violates it
	first int           // replicas at the beginning, ready
	min   int
	max   int
	from  time.Duration // what comes before is not counted
}

// seen is what a rule is told at each of its looks.
type seen struct {
	now      time.Duration
	arrivals int     // since the last look
	done     int     // since the last look
	busy     float64 // mean since the last look
	queued   float64 // mean since the last look
	waiting  int     // now
	ready    int     // now
	replicas int     // wanted now
}

// rule is an autoscaler: every so often it says how many replicas there should be.
type rule interface {
	every() time.Duration
	look(seen) int
}

// outcome is what a run came to.
type outcome struct {
	requests   int
	violations int           // waited longer than the SLO
	waited     time.Duration // all together
	held       time.Duration // replicas × time
	most       int
	starts     int
}

func (o outcome) part() float64  { return float64(o.violations) / float64(max(1, o.requests)) }
func (o outcome) hours() float64 { return o.held.Hours() }

type replica struct {
	born  time.Duration
	ready bool
	going bool
	gone  bool
	busy  int
}

type kind int

const (
	ends  kind = iota // a request ends on a replica
	ready             // a replica is ready
	look              // the rule looks
)

type event struct {
	at   time.Duration
	seq  int
	kind kind
	on   *replica
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// simulation is one simulation under way.
type simulation struct {
	hall
	rule     rule
	trace    []request
	now      time.Duration
	heap     events
	seq      int
	replicas []*replica // oldest first
	queue    []request
	head     int
	out      outcome

	arrivals, done int
	busy           int
	busyArea       float64 // request-seconds since the last look
	queueArea      float64
	looked         time.Duration
}

// simulate runs a trace under a rule from its first moment to the last request's end. Requests wait in one queue in
// their order and go to the ready replica with the fewest.
func simulate(h hall, r rule, trace []request, until time.Duration) outcome {
	s := &simulation{hall: h, rule: r, trace: trace}
	for range h.first {
		s.replicas = append(s.replicas, &replica{ready: true})
	}
	s.push(event{at: r.every(), kind: look})
	next := 0
	for next < len(trace) || s.busy > 0 || s.head < len(s.queue) || s.now < until {
		if next < len(trace) && (len(s.heap) == 0 || trace[next].at <= s.heap[0].at) {
			s.advance(trace[next].at)
			s.arrivals++
			s.queue = append(s.queue, trace[next])
			next++
		} else {
			e := heap.Pop(&s.heap).(event)
			s.advance(e.at)
			s.take(e)
		}
		s.dispatch()
	}
	for _, x := range s.replicas {
		s.out.held += s.now - max(x.born, min(s.from, s.now))
	}
	return s.out
}

func (s *simulation) push(e event) {
	s.seq++
	e.seq = s.seq
	heap.Push(&s.heap, e)
}

func (s *simulation) advance(to time.Duration) {
	span := (to - s.now).Seconds()
	s.busyArea += span * float64(s.busy)
	s.queueArea += span * float64(len(s.queue)-s.head)
	s.now = to
}

func (s *simulation) take(e event) {
	switch e.kind {
	case ends:
		e.on.busy--
		s.busy--
		s.done++
		s.leave()
	case ready:
		if !e.on.gone {
			e.on.ready = true
		}
	case look:
		s.look()
		s.push(event{at: s.now + s.rule.every(), kind: look})
	}
}

// leave frees the replicas that are to go and have nothing to do.
func (s *simulation) leave() {
	kept := s.replicas[:0]
	for _, x := range s.replicas {
		if x.going && x.busy == 0 {
			x.gone = true
			s.out.held += s.now - max(x.born, min(s.from, s.now))
			continue
		}
		kept = append(kept, x)
	}
	s.replicas = kept
}

// look lets the rule decide and carries it out at once.
func (s *simulation) look() {
	v := seen{now: s.now, arrivals: s.arrivals, done: s.done, waiting: len(s.queue) - s.head}
	if span := (s.now - s.looked).Seconds(); span > 0 {
		v.busy, v.queued = s.busyArea/span, s.queueArea/span
	}
	for _, x := range s.replicas {
		if !x.going {
			v.replicas++
			if x.ready {
				v.ready++
			}
		}
	}
	s.arrivals, s.done, s.busyArea, s.queueArea, s.looked = 0, 0, 0, 0, s.now
	want := min(max(s.rule.look(v), s.min), s.max)
	for ; v.replicas < want; v.replicas++ {
		x := &replica{born: s.now}
		s.replicas = append(s.replicas, x)
		s.push(event{at: s.now + s.start, kind: ready, on: x})
		s.out.starts++
	}
	// The newest go first, as job does it: the last index.
	for i := len(s.replicas) - 1; i >= 0 && v.replicas > want; i-- {
		if x := s.replicas[i]; !x.going {
			x.going = true
			v.replicas--
		}
	}
	s.leave()
	if s.now >= s.from {
		s.out.most = max(s.out.most, want)
	}
}

// dispatch hands waiting requests to replicas with room.
func (s *simulation) dispatch() {
	for s.head < len(s.queue) {
		var to *replica
		for _, x := range s.replicas {
			if x.ready && !x.going && x.busy < s.slots && (to == nil || x.busy < to.busy) {
				to = x
			}
		}
		if to == nil {
			return
		}
		r := s.queue[s.head]
		s.head++
		if s.head > 1024 && s.head*2 > len(s.queue) {
			s.queue = append(s.queue[:0], s.queue[s.head:]...)
			s.head = 0
		}
		to.busy++
		s.busy++
		wait := s.now - r.at
		if r.at >= s.from {
			s.out.requests++
			s.out.waited += wait
			if wait > s.slo {
				s.out.violations++
			}
		}
		s.push(event{at: s.now + r.work, kind: ends, on: to})
	}
}
