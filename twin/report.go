package twin

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/sched"
)

// Report is what a replay showed. Times are seconds.
type Report struct {
	Name         string        `json:"name"`
	Trace        string        `json:"trace"`
	Policy       string        `json:"policy"`
	Jobs         int           `json:"jobs"`
	Nodes        int           `json:"nodes"`
	Total        float64       `json:"total"`
	Unit         string        `json:"unit"` // accelerators, or cores where the hall has none
	Durations    string        `json:"durations"`
	Cost         float64       `json:"cost"`            // of being stopped for others
	JCT          Spread        `json:"jct"`             // from submission to end
	Wait         Spread        `json:"wait"`            // all time not at work: the cost of being stopped too
	Longest      float64       `json:"longest_wait"`    // the longest time at one stretch that a job waited
	First        Spread        `json:"first_start"`     // from submission to the first start
	Allocation   float64       `json:"allocation"`      // part of the hall that was allocated, until the last submission, or the last end where all come at once
	Pressed      float64       `json:"allocation_wait"` // the same while something waited
	Fragments    float64       `json:"fragmentation"`   // of what is free, the part on nodes that are in use in part
	Useful       float64       `json:"utilisation"`     // part of the hall's time that was work that counted
	Makespan     float64       `json:"makespan"`
	Stops        int           `json:"preemptions"`
	Jain         float64       `json:"jain"` // fairness of queues, 1 is even
	Queues       []QueueReport `json:"queues"`
	Prediction   *sched.Errors `json:"prediction,omitempty"`
	Plans        int           `json:"plans"`
	Decisions    int           `json:"decisions"`
	PerSecond    float64       `json:"decisions_per_second,omitempty"` // by the stopwatch
	Left         []LeftOut     `json:"left_out,omitempty"`
	Treats       []string      `json:"treated,omitempty"`
	Series       Series        `json:"series"`
	Distribution []float64     `json:"jct_percentiles"` // 1st to 100th
	Waits        []float64     `json:"wait_percentiles"`
}

// Spread is a distribution in short, in seconds.
type Spread struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// QueueReport is one queue.
type QueueReport struct {
	Queue string  `json:"queue"`
	Jobs  int     `json:"jobs"`
	Share float64 `json:"share"` // of all that was allocated
	Rate  float64 `json:"rate"`  // accelerators that it held on average while it had a job
	JCT   Spread  `json:"jct"`
	Wait  Spread  `json:"wait"`
}

// Series is the charts' points, from the first submission to the last end.
type Series struct {
	From      time.Time `json:"from"`
	Step      float64   `json:"step"`
	Allocated []float64 `json:"allocated"`
	Waiting   []float64 `json:"waiting"` // jobs
	Demand    []float64 `json:"demand"`  // accelerators that what waits asks for
	Stranded  []float64 `json:"stranded"`
}

// spread sorts v. A percentile is the least value that at least that part of all do not exceed.
func spread(v []float64) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	slices.Sort(v)
	at := func(percent int) float64 { return percentile(v, percent) }
	var sum float64
	for _, x := range v {
		sum += x
	}
	return Spread{Mean: sum / float64(len(v)), P50: at(50), P90: at(90), P99: at(99), Max: v[len(v)-1]}
}

// percentile is the nearest rank of sorted values.
func percentile(sorted []float64, percent int) float64 {
	return sorted[max((percent*len(sorted)+99)/100-1, 0)]
}

func (r *replay) report(t Trace) Report {
	m := r.meter
	out := Report{
		Name: r.o.Name, Trace: t.Name, Policy: describe(r.o.Policy), Jobs: len(r.jobs), Nodes: len(r.o.Nodes), Total: m.total, Unit: "accelerators",
		Cost: r.o.Policy.Preempt.Cost.Seconds(), Plans: r.plans, Decisions: r.decided, Left: t.Left, Treats: t.Treats,
		Makespan: m.last.Sub(m.from).Seconds(),
	}
	if m.cores {
		out.Unit = "cores"
	}
	switch {
	case r.o.Oracle:
		out.Durations = "known"
	case r.o.Predict:
		out.Durations = "predicted"
		if e := r.predict.Errors(); e.Runs > 0 {
			out.Prediction = &e
		}
	default:
		out.Durations = "unknown"
	}
	var jct, wait, first []float64
	by := map[string]*struct{ jct, wait []float64 }{}
	useful := 0.0
	for _, j := range r.jobs {
		took := r.took(j)
		w := max(took-j.Duration.Seconds(), 0)
		jct, wait, first = append(jct, took), append(wait, w), append(first, j.first.Sub(j.Submit).Seconds())
		q := by[j.tenant()]
		if q == nil {
			q = &struct{ jct, wait []float64 }{}
			by[j.tenant()] = q
		}
		q.jct, q.wait = append(q.jct, took), append(q.wait, w)
		out.Longest = max(out.Longest, j.longest.Seconds())
		out.Stops += j.stopped
		useful += m.size(make([]sched.Placement, max(j.Tasks, 1)), j) * j.ran.Seconds()
	}
	out.JCT, out.Wait, out.First = spread(jct), spread(wait), spread(first)
	for i := range 100 {
		out.Distribution = append(out.Distribution, percentile(jct, i+1))
		out.Waits = append(out.Waits, percentile(wait, i+1))
	}
	if out.Makespan > 0 && m.total > 0 {
		out.Useful = useful / m.total / out.Makespan
	}
	r.charts(&out)
	var sum, squares float64
	for _, name := range m.queueKeys {
		q := m.queues[name]
		x := QueueReport{Queue: name, Jobs: len(by[name].jct), JCT: spread(by[name].jct), Wait: spread(by[name].wait)}
		if m.area > 0 {
			x.Share = q.area / m.area
		}
		if q.present > 0 {
			x.Rate = q.area / q.present
		}
		sum, squares = sum+x.Rate, squares+x.Rate*x.Rate
		out.Queues = append(out.Queues, x)
	}
	slices.SortFunc(out.Queues, func(a, b QueueReport) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Queue, b.Queue))
	})
	if squares > 0 {
		out.Jain = sum * sum / squares / float64(len(out.Queues))
	}
	if r.spent > 0 {
		out.PerSecond = float64(r.decided) / r.spent.Seconds()
	}
	return out
}

// took is from submission to the end.
func (r *replay) took(j *state) float64 { return j.ended.Sub(j.Submit).Seconds() }

// charts fills what is measured over time.
func (r *replay) charts(out *Report) {
	m := r.meter
	out.Series = Series{From: m.from, Step: m.width}
	for _, p := range m.series {
		if p.seconds <= 0 { // the end: until then every moment is measured
			break
		}
		per := func(v float64) float64 {
			return math.Round(v/p.seconds*1000) / 1000
		}
		out.Series.Allocated = append(out.Series.Allocated, per(p.allocated))
		out.Series.Waiting = append(out.Series.Waiting, per(p.waiting))
		out.Series.Demand = append(out.Series.Demand, per(p.demand))
		out.Series.Stranded = append(out.Series.Stranded, per(p.frag))
	}
	if c := m.coming; c.seconds > 0 && m.total > 0 {
		out.Allocation = c.allocated / c.seconds / m.total
		if free := m.total*c.seconds - c.allocated; free > 1e-9 {
			out.Fragments = c.frag / free
		}
	}
	if m.waitTime > 0 && m.total > 0 {
		out.Pressed = m.busyArea / m.waitTime / m.total
	}
}

// describe is the policy in short.
func describe(p sched.Policy) string {
	s := cmp.Or(p.Order, sched.FIFO) + ", " + cmp.Or(p.Backfill, sched.Pass)
	if p.Preempt.Order || p.Preempt.Priority || p.Preempt.Reclaim {
		s += ", preempting"
	}
	if p.Learned != "" {
		s += ", by the learned rule " + p.Learned
	}
	return s
}

// Rows are the report's lines, as name and value in words.
func (r Report) Rows() [][2]string {
	hours := func(v float64) string { return strconv.FormatFloat(v/3600, 'f', 2, 64) + " h" }
	part := func(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + " %" }
	dist := func(s Spread) string {
		return fmt.Sprintf("mean %s, p50 %s, p99 %s, max %s", hours(s.Mean), hours(s.P50), hours(s.P99), hours(s.Max))
	}
	rows := [][2]string{
		{"trace", fmt.Sprintf("%s, %d jobs", r.Trace, r.Jobs)},
		{"hall", fmt.Sprintf("%d nodes, %g %s", r.Nodes, r.Total, r.Unit)},
		{"policy", fmt.Sprintf("%s; durations %s; stopping costs %g s", r.Policy, r.Durations, r.Cost)},
		{"completion time", dist(r.JCT)},
		{"waiting time", dist(r.Wait)},
		{"longest wait at a stretch", hours(r.Longest)},
		{"allocation", fmt.Sprintf("%s while jobs came, %s while any waited", part(r.Allocation), part(r.Pressed))},
		{"fragmentation", part(r.Fragments) + " of what was free lay on nodes partly in use"},
		{"utilisation", part(r.Useful) + " of the hall's time to the last end"},
		{"makespan", hours(r.Makespan)},
		{"preemptions", strconv.Itoa(r.Stops)},
		{"fairness of queues (Jain)", strconv.FormatFloat(r.Jain, 'f', 3, 64)},
	}
	if p := r.Prediction; p != nil {
		rows = append(rows, [2]string{"prediction", fmt.Sprintf("typically off by a factor of %.2f; %s within a factor of 2; %s between low and high (80 %% is right)", p.Factor, part(p.Twice), part(p.Inside))})
	}
	plans := fmt.Sprintf("%d, with %d decisions", r.Plans, r.Decisions)
	if r.PerSecond > 0 {
		plans += fmt.Sprintf(", %.0f/s", r.PerSecond)
	}
	rows = append(rows, [2]string{"plans", plans})
	for _, l := range r.Left {
		rows = append(rows, [2]string{"left out", fmt.Sprintf("%d rows: %s (the first in line %d)", l.Rows, l.Cause, l.Line)})
	}
	for _, s := range r.Treats {
		rows = append(rows, [2]string{"treated", s})
	}
	return rows
}
