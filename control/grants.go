package control

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

// GrantsOptions tune the grants of running tasks. A zero field takes the default.
type GrantsOptions struct {
	Window time.Duration // of measured use that must be there before a grant shrinks; 25 s
	Every  time.Duration // between two changes of one grant, unless it is short; 1 min
	Burst  time.Duration // between two changes of a grant beyond the promise; 10 s
	Floor  float64       // part of the promise that is always granted; 0.25
}

// adjustGrant is the verb: change what a running task may use.
const adjustGrant = "adjust_grant"

const grantsName = "grants"

// Grants is the reaction to what running tasks need. A grant that is used little shrinks slowly; one that is short comes
// back to the promise at once. Cores and bandwidth of a node that no grant holds are lent, beyond the promise, to who is
// short; what is lent is taken back as soon as the grants are more than the node. Plans count promises, so nothing is
// promised twice (docs/adr/0017).
func Grants(o GrantsOptions) Policy {
	o.Window = cmp.Or(o.Window, 25*time.Second)
	o.Every = cmp.Or(o.Every, time.Minute)
	o.Burst = cmp.Or(o.Burst, 10*time.Second)
	o.Floor = cmp.Or(o.Floor, 0.25)
	g := grants{o}
	return Policy{
		Name:    grantsName,
		About:   "lets what running tasks may use follow their measured need: less while they use little, their promise at once when they want it, and what nobody holds of processor and bandwidth until it is wanted",
		Default: Act,
		Memory:  2 * o.Every,
		Propose: g.propose,
		Verify:  g.verify,
	}
}

type grants struct{ GrantsOptions }

// measured is one resource of one running task.
type measured struct {
	what         string
	promise, now float64 // granted
	used, recent float64 // at the last look, and the most of the window
	room         float64 // of the node; 0: unknown, or nothing is lent of it
	short        bool    // it wants more than it is granted
	margin       float64 // that a grant has above what is used: a part, and
	slack        float64 // an amount
	grant        func(v float64) job.Grant
	print        func(v float64) string
	shortBy      string // how one knows
}

// of lists the resources of a task that have a promise and that the machine can change.
func (g grants) of(u job.Use) []measured {
	size := func(v float64) string { return units.Bytes(v).String() }
	cores := func(v float64) string {
		if v == 1 {
			return "1 core"
		}
		return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + " cores"
	}
	busy := max(u.Used.Send, u.Used.Receive)
	all := []measured{
		{
			what: "cpu", promise: u.Promise.CPU, now: u.Grant.CPU, used: u.Used.CPU, recent: u.Used.Recent.CPU, room: u.Room.CPU,
			short: u.Used.Throttled >= 0.05, shortBy: fmt.Sprintf("it was held back in %.0f %% of the last %v", 100*u.Used.Throttled, u.Used.Span.Round(100*time.Millisecond)),
			margin: 0.5, slack: 0.05, print: cores, grant: func(v float64) job.Grant { return job.Grant{CPU: max(0.01, math.Round(v*100)/100)} },
		},
		{
			what: "memory", promise: float64(u.Promise.Memory), now: float64(u.Grant.Memory), used: float64(u.Used.Memory), recent: float64(u.Used.Recent.Memory),
			margin: 0.25, slack: float64(64 * units.MiB), print: size, grant: func(v float64) job.Grant { return job.Grant{Memory: min(u.Promise.Memory, mebibytes(v))} },
		},
		{
			what: "disk", promise: float64(u.Promise.Disk), now: float64(u.Grant.Disk), used: float64(u.Used.Disk), recent: float64(u.Used.Recent.Disk),
			margin: 0.25, slack: float64(64 * units.MiB), print: size, grant: func(v float64) job.Grant { return job.Grant{Disk: min(u.Promise.Disk, mebibytes(v))} },
		},
		{
			what: "storage", promise: float64(u.Promise.Storage), now: float64(u.Grant.Storage), used: float64(u.Used.Storage), recent: float64(u.Used.Recent.Storage),
			margin: 0.25, slack: float64(64 * units.MiB), print: size, grant: func(v float64) job.Grant { return job.Grant{Storage: min(u.Promise.Storage, mebibytes(v))} },
		},
		{
			what: "bandwidth", promise: float64(u.Promise.Bandwidth), now: float64(u.Grant.Bandwidth), used: float64(busy), recent: float64(u.Used.Recent.Bandwidth), room: float64(u.Room.Bandwidth),
			margin: 0.5, slack: 1e5, print: func(v float64) string { return units.BitsPerSecond(v).String() },
			grant: func(v float64) job.Grant { return job.Grant{Bandwidth: units.BitsPerSecond(v)} },
		},
	}
	var out []measured
	for _, m := range all {
		if m.promise <= 0 || slices.Contains(u.Fixed, m.what) {
			continue
		}
		if wants := u.Used.CPU + u.Used.Waiting; m.what == "cpu" && !m.short && m.now < m.promise && wants >= 0.85*m.now {
			m.short, m.shortBy = true, fmt.Sprintf("it wants %s at least, some of which it waited for, and is granted %s", m.print(wants), m.print(m.now))
		}
		if m.what != "cpu" && m.used >= 0.85*m.now {
			m.short, m.shortBy = true, fmt.Sprintf("it uses %s of the %s that it is granted", m.print(m.used), m.print(m.now))
		}
		out = append(out, m)
	}
	return out
}

// mebibytes is a size in whole ones, not less.
func mebibytes(v float64) units.Bytes {
	return units.Bytes(math.Ceil(v/float64(units.MiB))) * units.MiB
}

// pool is what the grants of one resource leave of a node.
type pool struct {
	left    float64 // less than nothing: more is granted than there is
	wanting int     // tasks that have their promise and are short
}

func (g grants) pools(s State) map[string]*pool {
	pools := map[string]*pool{}
	at := func(node, what string, room float64) *pool {
		key := node + " " + what
		if pools[key] == nil {
			pools[key] = &pool{left: room}
		}
		return pools[key]
	}
	seen := map[string]bool{}
	for _, u := range s.Uses {
		seen[target(u.Job, u.Task, u.Attempt)] = true
		for _, m := range g.of(u) {
			if m.room <= 0 {
				continue
			}
			p := at(u.Node, m.what, m.room)
			switch {
			case m.short && m.now < m.promise: // it gets that back first
				m.now = m.promise
			case m.short:
				p.wanting++
			}
			p.left -= m.now
		}
	}
	for _, j := range s.Jobs { // what has not been measured yet counts by its promise
		for _, t := range j.Tasks {
			if !t.State.Live() || seen[target(j.ID, t.Index, t.Attempt)] {
				continue
			}
			if p := pools[t.Node+" cpu"]; p != nil {
				p.left -= j.Spec.Resources.CPU
			}
			if p := pools[t.Node+" bandwidth"]; p != nil {
				p.left -= float64(j.Spec.Resources.Bandwidth)
			}
		}
	}
	return pools
}

func target(id job.ID, task, attempt int) string { return fmt.Sprintf("%d_%d_%d", id, task, attempt) }

func (g grants) propose(s State) []Action {
	var out []Action
	pools := g.pools(s)
	for _, u := range s.Uses {
		if u.Used.Span <= 0 || u.Used.Time.IsZero() {
			continue
		}
		for _, m := range g.of(u) {
			last, open := g.last(s, u, m.what)
			if open {
				continue
			}
			to, why, urgent := g.want(u, m, pools[u.Node+" "+m.what])
			if why == "" || !last.IsZero() && s.Now.Sub(last) < g.pause(m, to, urgent) || !u.Used.Time.After(last) {
				continue
			}
			out = append(out, g.action(s, u, m, to, why))
		}
	}
	return out
}

// pause is how long after a change of a grant it is changed again.
func (g grants) pause(m measured, to float64, urgent bool) time.Duration {
	switch {
	case urgent:
		return 0
	case to > m.promise:
		return g.Burst
	}
	return g.Every
}

// want is what should be granted, and why; no reason leaves it as it is.
func (g grants) want(u job.Use, m measured, p *pool) (to float64, why string, urgent bool) {
	switch {
	case m.short && m.now < m.promise*0.999:
		return m.promise, m.shortBy + ": it gets back what it was promised", true
	case p != nil && p.left < -0.001*m.room && m.now > m.promise*1.001:
		return m.promise, fmt.Sprintf("what was lent to it is wanted by others: more is granted on node %s than the %s that it has", u.Node, m.print(m.room)), true
	case p != nil && m.short && p.left/float64(p.wanting) >= max(m.slack, 0.05*m.promise):
		share := p.left / float64(p.wanting)
		return m.now + share, fmt.Sprintf("%s, and no grant on node %s holds %s: it may use that until others need it", m.shortBy, u.Node, m.print(share)), false
	case m.short || u.Used.Recent.Over < g.Window:
		return 0, "", false
	}
	floor := g.Floor * m.promise
	to = max(floor, m.recent*(1+m.margin)+m.slack, m.now/2)
	if m.now > m.promise { // what was lent goes back first
		to = max(to, m.promise)
	}
	if to > 0.8*m.now {
		return 0, "", false
	}
	return to, fmt.Sprintf("it has used %s at most in the last %v, of the %s that it is granted", m.print(m.recent), u.Used.Recent.Over.Round(time.Second), m.print(m.now)), false
}

// last is when the grant was last changed, and whether a change of it is under way.
func (g grants) last(s State, u job.Use, what string) (at time.Time, open bool) {
	for _, a := range s.Actions {
		if a.Verb != adjustGrant || a.Target != (Target{Job: u.Job, Task: u.Task, Attempt: u.Attempt}) || a.Grant == nil || a.Grant.Resource != what {
			continue
		}
		open = open || a.State.Open()
		if a.Changed.After(at) {
			at = a.Changed
		}
	}
	return at, open
}

func (g grants) action(s State, u job.Use, m measured, to float64, why string) Action {
	change := m.grant(to)
	if to == m.promise && m.what == "cpu" {
		change.CPU = to
	}
	return Action{
		ID:      fmt.Sprintf("act_grant_%s_%s_%d", target(u.Job, u.Task, u.Attempt), m.what, u.Used.Time.UnixMilli()),
		Subject: "job/" + u.Job.String(),
		Verb:    adjustGrant,
		Target:  Target{Job: u.Job, Task: u.Task, Attempt: u.Attempt},
		Grant:   &GrantChange{Resource: m.what, From: m.print(m.now), To: m.print(to), Change: change},
		Reasons: []string{
			fmt.Sprintf("task %d: %s from %s to %s, of %s promised", u.Task, m.what, m.print(m.now), m.print(to), m.print(m.promise)), why,
		},
		Evidence: []Fact{
			{"used", m.print(m.used)},
			{"most_used_within_" + u.Used.Recent.Over.Round(time.Second).String(), m.print(m.recent)},
			{"granted", m.print(m.now)},
			{"promised", m.print(m.promise)},
			{"measured", u.Used.Time.UTC().Format(time.RFC3339)},
		},
		Return:    to == m.promise,
		NotBefore: s.Now,
	}
}

// settle is how long a grant may take to hold.
const settle = 15 * time.Second

func (g grants) verify(s State, a Action) (ActionState, string) {
	if a.Grant == nil {
		return Failed, "it does not say what is to change"
	}
	for _, u := range s.Uses {
		if a.Target != (Target{Job: u.Job, Task: u.Task, Attempt: u.Attempt}) {
			continue
		}
		for _, m := range g.of(u) {
			if m.what == a.Grant.Resource {
				return g.outcome(s, a, u, m)
			}
		}
		return Failed, "this machine does not change it"
	}
	if j, ok := s.Job(a.Target.Job); ok && a.Target.Task < len(j.Tasks) {
		if t := j.Tasks[a.Target.Task]; t.Attempt == a.Target.Attempt && t.State.Live() {
			return "", "" // not measured just now
		}
	}
	return Failed, "overtaken: the task has ended"
}

// outcome looks at the grant as it is held.
func (g grants) outcome(s State, a Action, u job.Use, m measured) (ActionState, string) {
	holds := u.Grant.With(a.Grant.Change) == u.Grant
	switch {
	case a.State == Decided && holds: // it was applied, and the server ended before it could say so: it is applied again
		return "", ""
	case a.State != Applied && (m.print(m.now) != a.Grant.From || s.Now.Sub(a.Time) > g.Every):
		return Failed, "overtaken: the need has changed"
	case a.State != Applied:
		return "", ""
	case holds && u.Used.Time.After(a.Changed):
		return Verified, fmt.Sprintf("%s is granted, and %s used", m.print(m.now), m.print(m.used))
	case !holds && s.Now.Sub(a.Changed) > settle:
		return Failed, fmt.Sprintf("%s is granted still", m.print(m.now))
	}
	return "", ""
}
