package main

import (
	"strconv"

	"github.com/lineshaft/lineshaft/bench/internal/openb"
	"github.com/lineshaft/lineshaft/sched"
)

// lineshaft is the product's hall.
type lineshaft struct {
	hall       *sched.Hall
	trace      *openb.Trace
	migrate    bool
	migrations int
	id         int
}

func newOurs(t *openb.Trace, o options, pods []openb.Pod, migrate bool) *lineshaft {
	var mix sched.Mix
	if !o.learn {
		mix = t.Mix(pods)
	}
	l := &lineshaft{hall: sched.NewHall(t.Nodes(), nil, nil, mix), trace: t, migrate: migrate}
	l.hall.Use(o.rule)
	return l
}

func (l *lineshaft) place(p openb.Pod) bool {
	l.id++
	d := l.hall.Place(sched.Gang{ID: strconv.Itoa(l.id), Tasks: []int{0}, Each: l.trace.Ask(p)})
	return len(d.Placements) > 0
}
