package main

import (
	"strconv"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// lineshaft is the product's hall.
type lineshaft struct {
	hall       *sched.Hall
	trace      *trace
	migrate    bool
	migrations int
	id         int
}

func (t *trace) newOurs(o options, pods []pod, migrate bool) *lineshaft {
	nodes := make([]fleet.Node, 0, len(t.machines))
	for _, m := range t.machines {
		n := fleet.Node{Name: m.name, CPU: float64(m.cpu) / 1000, Memory: units.Bytes(m.memory) * units.MiB}
		for i := range m.gpus {
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: strconv.Itoa(i), Model: t.modelNames(m.model)[0]})
		}
		nodes = append(nodes, n)
	}
	asks := make([]sched.Ask, 0, len(pods))
	if !o.learn {
		for _, p := range pods {
			asks = append(asks, t.ask(p))
		}
	}
	l := &lineshaft{hall: sched.NewHall(nodes, nil, nil, sched.MixOf(asks)), trace: t, migrate: migrate}
	l.hall.Use(o.rule)
	return l
}

func (t *trace) modelNames(bits uint64) (out []string) {
	for i, name := range t.names {
		if bits&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func (t *trace) ask(p pod) sched.Ask {
	a := sched.Ask{CPU: float64(p.cpu) / 1000, Memory: units.Bytes(p.memory) * units.MiB, Accelerators: p.gpus, Models: t.modelNames(p.models)}
	if p.shared() {
		a.Share = int(p.milli)
	}
	return a
}

func (l *lineshaft) place(p pod) bool {
	l.id++
	d := l.hall.Place(sched.Gang{ID: strconv.Itoa(l.id), Tasks: []int{0}, Each: l.trace.ask(p)})
	return len(d.Placements) > 0
}
