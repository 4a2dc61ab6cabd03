package twin

import (
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
)

// points is how many points a chart over time has at most. When time goes beyond them, two become one.
const points = 480

// meter adds up over time what runs and what waits.
type meter struct {
	from, to  time.Time // while jobs come; without an end where all come at once
	total     float64   // accelerators of the hall; cores where it has none
	cores     bool
	now       time.Time
	last      time.Time // of the last end
	allocated float64
	demand    float64 // of what waits
	waitingN  int
	runningN  int
	nodes     map[string]*room
	partly    float64 // free accelerators on nodes that are in use in part
	free      float64

	area      float64 // allocated, over time
	busyArea  float64 // of that, while something waits
	waitTime  float64 // seconds while something waits
	fragArea  float64
	freeArea  float64
	coming    point   // what was until to
	width     float64 // seconds of a point
	series    [points]point
	queues    map[string]*tenant
	queueKeys []string
}

// room is a node's accelerators.
type room struct{ total, used float64 }

type point struct{ seconds, allocated, waiting, demand, frag float64 }

// tenant is a queue over time.
type tenant struct {
	active  int // jobs that wait or run
	held    float64
	area    float64 // accelerator-seconds
	present float64 // seconds with a job that waits or runs
}

func newMeter(jobs []*state, nodes []fleet.Node) *meter {
	m := &meter{from: jobs[0].Submit, to: jobs[len(jobs)-1].Submit, now: jobs[0].Submit, nodes: map[string]*room{}, queues: map[string]*tenant{}}
	m.width = max(m.to.Sub(m.from).Seconds(), 1) / points
	for _, n := range nodes {
		m.total += float64(len(n.Accelerators))
	}
	m.cores = m.total == 0
	for _, n := range nodes {
		r := &room{total: float64(len(n.Accelerators))}
		if m.cores {
			r.total = n.CPU
			m.total += n.CPU
		}
		m.free += r.total
		m.nodes[n.Name] = r
	}
	for _, j := range jobs {
		if m.queues[j.tenant()] == nil {
			m.queues[j.tenant()] = &tenant{}
			m.queueKeys = append(m.queueKeys, j.tenant())
		}
	}
	return m
}

func (m *meter) size(places []sched.Placement, j *state) float64 {
	if m.cores {
		return float64(len(places)) * j.Each.CPU
	}
	return j.devices(places)
}

// until lets time pass in which nothing changes.
func (m *meter) until(t time.Time) {
	span := t.Sub(m.now).Seconds()
	if span <= 0 {
		return
	}
	m.area += m.allocated * span
	m.fragArea += m.partly * span
	m.freeArea += m.free * span
	if m.waitingN > 0 {
		m.waitTime += span
		m.busyArea += m.allocated * span
	}
	for _, q := range m.queues {
		q.area += q.held * span
		if q.active > 0 {
			q.present += span
		}
	}
	m.chart(t)
	m.now = t
}

// chart spreads what was over the points between now and t.
func (m *meter) chart(t time.Time) {
	a, b := m.now.Sub(m.from).Seconds(), t.Sub(m.from).Seconds()
	if end := m.to.Sub(m.from).Seconds(); end <= 0 {
		m.coming.add(m, b-a)
	} else if a < end {
		m.coming.add(m, min(b, end)-a)
	}
	for b > m.width*points {
		m.fold()
	}
	for i := int(a / m.width); i < points; i++ {
		lo, hi := max(a, float64(i)*m.width), min(b, float64(i+1)*m.width)
		if float64(i)*m.width >= b {
			break
		}
		if hi > lo {
			m.series[i].add(m, hi-lo)
		}
	}
}

// fold makes every two points one of twice the width.
func (m *meter) fold() {
	for i := range m.series {
		p := point{}
		if 2*i < points {
			p = m.series[2*i]
			q := m.series[2*i+1]
			p.seconds, p.allocated, p.waiting, p.demand, p.frag = p.seconds+q.seconds, p.allocated+q.allocated, p.waiting+q.waiting, p.demand+q.demand, p.frag+q.frag
		}
		m.series[i] = p
	}
	m.width *= 2
}

func (p *point) add(m *meter, span float64) {
	p.seconds += span
	p.allocated += m.allocated * span
	p.waiting += float64(m.waitingN) * span
	p.demand += m.demand * span
	p.frag += m.partly * span
}

func (m *meter) waits(j *state, sign int) {
	m.waitingN += sign
	each := j.devices(make([]sched.Placement, max(j.Tasks, 1)))
	if m.cores {
		each = float64(max(j.Tasks, 1)) * j.Each.CPU
	}
	m.demand += float64(sign) * each
	m.queues[j.tenant()].active += sign
}

func (m *meter) runs(j *state, sign int) {
	s := float64(sign)
	m.runningN += sign
	n := m.size(j.places, j)
	m.allocated += s * n
	m.free -= s * n
	q := m.queues[j.tenant()]
	q.active += sign
	q.held += s * n
	each := n / float64(max(len(j.places), 1))
	for _, p := range j.places {
		r := m.nodes[p.Node]
		m.partly -= r.stranded()
		r.used += s * each
		m.partly += r.stranded()
	}
}

// stranded is what is free of a node that is in use in part: whole-node work cannot have it.
func (r *room) stranded() float64 {
	if r.used <= 1e-9 || r.used >= r.total {
		return 0
	}
	return r.total - r.used
}
