package main

import (
	"strconv"

	"github.com/lineshaft/lineshaft/bench/internal/openb"
	"github.com/lineshaft/lineshaft/sched"
)

// lineshaft is the product's hall.
type lineshaft struct {
	hall       *sched.Hall
	mover      *sched.Mover // with migrations
	trace      *openb.Trace
	migrations int
	id         int
	learn      bool
	next       int         // how many arrivals make it learn again
	seen       []sched.Ask // what has arrived, to learn from
}

func newOurs(t *openb.Trace, o options, pods []openb.Pod, migrate bool) *lineshaft {
	var mix sched.Mix
	if !o.learn {
		mix = t.Mix(pods)
	}
	l := &lineshaft{hall: sched.NewHall(t.Nodes(), nil, nil, mix), trace: t, learn: o.learn}
	l.hall.Use(o.weights)
	if migrate {
		l.mover = sched.NewMover(l.hall)
	}
	return l
}

func (l *lineshaft) place(p openb.Pod) bool {
	l.id++
	if l.learn {
		l.study(p)
	}
	g := sched.Gang{ID: strconv.Itoa(l.id), Tasks: []int{0}, Each: l.trace.Ask(p)}
	if l.mover == nil {
		return len(l.hall.Place(g).Placements) > 0
	}
	d, moves := l.mover.Place(g, true, mostMoves)
	l.migrations += len(moves)
	return len(d.Placements) > 0
}

// mostMoves is how many running pods may move so that one more starts.
const mostMoves = 6

// study learns the mix from what has arrived: anew whenever that has grown by a quarter.
func (l *lineshaft) study(p openb.Pod) {
	l.seen = append(l.seen, l.trace.Ask(p))
	if n := len(l.seen); n >= l.next {
		l.hall.Expect(sched.MixOf(l.seen))
		l.next = n + max(n/4, 32)
	}
}
