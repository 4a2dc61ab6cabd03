package twin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/twin"
)

func options(t testing.TB, rule string) twin.Options {
	t.Helper()
	r, err := twin.Named(rule)
	if err != nil {
		t.Fatal(err)
	}
	o := twin.Options{Name: r.Name, Policy: r.Policy}
	if err := o.Know(r.Know); err != nil {
		t.Fatal(err)
	}
	return o
}

func table(t testing.TB, text string) twin.Trace {
	t.Helper()
	trace, err := twin.ReadCSV(strings.NewReader(text), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func replayed(t testing.TB, trace twin.Trace, o twin.Options) twin.Report {
	t.Helper()
	r, err := twin.Replay(context.Background(), trace, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %v, by hand it is %v", what, got, want)
	}
}

// One node of four. a holds all from 0 to 100; b (2) and c (4) wait from 10 and 20; b runs from 100 to 150; c, which
// nobody passes, from 150 to 200; d (1) comes at 60 and runs from 200 to 250.
func TestATinyTraceIsAsByHand(t *testing.T) {
	trace := table(t, `id,submit,duration,accelerators,queue
a,0,100,4,x
b,10,50,2,x
c,20,50,4,y
d,60,50,1,y
`)
	o := options(t, "fifo")
	o.Nodes = twin.Nodes(1, 4)
	r := replayed(t, trace, o)

	// Completion: 100, 140, 180, 190. Waits: 0, 90, 130, 140.
	near(t, "mean completion time", r.JCT.Mean, (100.0+140+180+190)/4)
	near(t, "median completion time", r.JCT.P50, 140)
	near(t, "p99 completion time", r.JCT.P99, 190)
	near(t, "mean wait", r.Wait.Mean, (0.0+90+130+140)/4)
	near(t, "median wait", r.Wait.P50, 90)
	near(t, "longest wait", r.Longest, 140)
	near(t, "mean first start", r.First.Mean, r.Wait.Mean)
	near(t, "makespan", r.Makespan, 250)
	// Work: 400 + 100 + 200 + 50 accelerator-seconds of 4 x 250.
	near(t, "utilisation", r.Useful, 750.0/1000)
	near(t, "allocation until the last came", r.Allocation, 1)
	near(t, "fragmentation until the last came", r.Fragments, 0)
	// Something waits from 10 to 200: full for 90 s, half for 50, full for 50.
	near(t, "allocation while any waited", r.Pressed, (4.0*90+2*50+4*50)/(4*190))
	// x has jobs from 0 to 150 and held 500; y from 20 to 250 and held 250.
	x, y := 500.0/150, 250.0/230
	near(t, "Jain's index", r.Jain, (x+y)*(x+y)/(2*(x*x+y*y)))
	if r.Queues[0].Queue != "x" || r.Queues[0].Jobs != 2 {
		t.Fatalf("the first queue is %+v", r.Queues[0])
	}
	near(t, "the share of x", r.Queues[0].Share, 500.0/750)
	near(t, "the rate of x", r.Queues[0].Rate, x)
	near(t, "the rate of y", r.Queues[1].Rate, y)
	near(t, "the mean wait of y", r.Queues[1].Wait.Mean, 135)

	held, waited := 0.0, 0.0
	for i := range r.Series.Allocated {
		held += r.Series.Allocated[i] * r.Series.Step
		waited += r.Series.Waiting[i] * r.Series.Step
	}
	if math.Abs(held-750) > 1 || math.Abs(waited-360) > 1 {
		t.Errorf("below the charts' lines lie %v accelerator-seconds and %v seconds of waiting, by hand 750 and 360", held, waited)
	}
}

// a (100 s) is stopped at 10 for b (20 s), goes on at 30, pays 5 s and works the 90 s that are left until 125.
func TestBeingStoppedCostsTimeAndLosesNoWork(t *testing.T) {
	trace := table(t, "id,submit,duration,accelerators\na,0,100,1\nb,10,20,1\n")
	o := options(t, "srtf")
	o.Nodes, o.Policy.Preempt.Cost = twin.Nodes(1, 1), 5*time.Second
	r := replayed(t, trace, o)
	near(t, "preemptions", float64(r.Stops), 1)
	near(t, "makespan", r.Makespan, 125)
	near(t, "mean completion time", r.JCT.Mean, (125.0+20)/2)
	near(t, "mean wait", r.Wait.Mean, 25.0/2)
	near(t, "utilisation", r.Useful, 120.0/125)
	near(t, "longest wait at a stretch", r.Longest, 20)
}

func TestJobsThatAllComeAtOnceAreMeasuredToTheEnd(t *testing.T) {
	trace := table(t, "submit,duration,accelerators,queue\n5,10,1,\n5,30,1,default\n")
	o := options(t, "pass")
	o.Nodes = twin.Nodes(1, 2)
	r := replayed(t, trace, o)
	near(t, "allocation", r.Allocation, 40.0/60)
	if len(r.Queues) != 1 || r.Queues[0].Queue != "default" || r.Queues[0].Jobs != 2 {
		t.Errorf("no queue and the default one are not the same: %+v", r.Queues)
	}
}

func TestTheSameTraceGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, rule := range twin.Rules() {
		var texts, pages [2]bytes.Buffer
		for i := range 2 {
			trace, err := twin.ReadPhilly(bytes.NewReader(sample(t, "philly.csv")), twin.Philly{})
			if err != nil {
				t.Fatal(err)
			}
			trace.Jobs = trace.Jobs[:80]
			o := options(t, rule.Name)
			o.Nodes = twin.Nodes(4, 8)
			r := replayed(t, trace, o)
			if err := json.NewEncoder(&texts[i]).Encode(r); err != nil {
				t.Fatal(err)
			}
			if err := r.WriteHTML(&pages[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) || !bytes.Equal(pages[0].Bytes(), pages[1].Bytes()) {
			t.Errorf("%s gave two reports for one trace", rule.Name)
		}
	}
}

// guard checks what must hold after every plan, and counts what it has seen run: tasks in all, gangs of more than one.
func guard(t *testing.T, trace twin.Trace, o *twin.Options) (ran, gangs *int) {
	ran, gangs = new(int), new(int)
	tasks := map[string]int{}
	for _, j := range trace.Jobs {
		tasks[j.ID] = max(j.Tasks, 1)
	}
	twin.Watch(o, func(now time.Time, running []sched.Running, waiting []sched.Gang) {
		type room struct {
			cpu     float64
			memory  int64
			devices map[string]int
		}
		rooms := map[string]*room{}
		for _, n := range o.Nodes {
			r := &room{cpu: n.CPU, memory: int64(n.Memory), devices: map[string]int{}}
			for _, a := range n.Accelerators {
				r.devices[a.ID] = 1000
			}
			rooms[n.Name] = r
		}
		seen := map[string]bool{}
		for _, g := range running {
			if len(g.Placements) != tasks[g.Gang.ID] {
				t.Fatalf("%v: %s runs with %d of its %d tasks", now, g.Gang.ID, len(g.Placements), tasks[g.Gang.ID])
			}
			seen[g.Gang.ID] = true
			*ran += len(g.Placements)
			if len(g.Placements) > 1 {
				*gangs++
			}
			for _, p := range g.Placements {
				r := rooms[p.Node]
				if r == nil {
					t.Fatalf("%v: %s runs on %q, which is no node", now, g.Gang.ID, p.Node)
				}
				if len(p.Accelerators) != g.Gang.Each.Accelerators {
					t.Fatalf("%v: a task of %s has %d accelerators for the %d it asks for", now, g.Gang.ID, len(p.Accelerators), g.Gang.Each.Accelerators)
				}
				r.cpu -= g.Gang.Each.CPU
				r.memory -= int64(g.Gang.Each.Memory)
				for _, id := range p.Accelerators {
					part := 1000
					if g.Gang.Each.Share > 0 {
						part = g.Gang.Each.Share
					}
					if r.devices[id] -= part; r.devices[id] < 0 {
						t.Fatalf("%v: accelerator %s of %s is given more than once", now, id, p.Node)
					}
				}
				if r.cpu < -1e-6 || r.memory < 0 {
					t.Fatalf("%v: %s gives more than it has: %v cores and %d bytes are left", now, p.Node, r.cpu, r.memory)
				}
			}
		}
		for _, g := range waiting {
			if seen[g.ID] {
				t.Fatalf("%v: %s runs and waits", now, g.ID)
			}
		}
	})
	return ran, gangs
}

func TestNothingIsGivenTwiceAndNoGangIsPartial(t *testing.T) {
	philly, err := twin.ReadPhilly(bytes.NewReader(sample(t, "philly.csv")), twin.Philly{PerNode: 4})
	if err != nil {
		t.Fatal(err)
	}
	philly.Jobs = philly.Jobs[:100]
	pods, err := twin.ReadOpenb(bytes.NewReader(sample(t, "openb_pods.csv")), false)
	if err != nil {
		t.Fatal(err)
	}
	list, err := twin.ReadOpenbNodes(bytes.NewReader(sample(t, "openb_nodes.csv")))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range twin.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			o := options(t, rule.Name)
			o.Nodes = twin.Nodes(6, 4)
			ran, gangs := guard(t, philly, &o)
			if r := replayed(t, philly, o); r.Jobs != len(philly.Jobs) || r.Allocation > 1 || r.Useful > 1 {
				t.Errorf("philly: %+v", r.Rows())
			}
			if *ran == 0 || *gangs == 0 {
				t.Errorf("%d tasks and %d gangs were seen: the test would prove nothing", *ran, *gangs)
			}
			o.Nodes = list
			guard(t, pods, &o)
			if r := replayed(t, pods, o); r.Jobs != len(pods.Jobs) || r.Allocation > 1 || r.Useful > 1 {
				t.Errorf("openb: %+v", r.Rows())
			}
		})
	}
}

func TestReplaysThatCannotBeAreRefused(t *testing.T) {
	trace := table(t, "id,submit,duration,accelerators\na,0,100,2\n")
	for _, c := range []struct {
		change func(*twin.Trace, *twin.Options)
		want   string
	}{
		{func(tr *twin.Trace, _ *twin.Options) { tr.Jobs = nil }, "the trace has no job"},
		{func(_ *twin.Trace, o *twin.Options) { o.Nodes = nil }, "the hall has no node"},
		{func(_ *twin.Trace, o *twin.Options) { o.Nodes = twin.Nodes(5, 1) }, "can never run here"},
		{func(_ *twin.Trace, o *twin.Options) { o.Policy.Order = "luck" }, `no order "luck"`},
		{func(tr *twin.Trace, _ *twin.Options) { tr.Jobs = append(tr.Jobs, tr.Jobs[0]) }, `two jobs "a"`},
		{func(tr *twin.Trace, _ *twin.Options) { tr.Jobs[0].Each.CPU = math.NaN() }, "NaN cores"},
		{func(tr *twin.Trace, _ *twin.Options) { tr.Jobs[0].Duration = -1 }, "a duration is above 0"},
		{func(tr *twin.Trace, _ *twin.Options) { tr.Jobs[0].Queue = "a/b" }, `a queue is named "a/b"`},
	} {
		o := options(t, "fifo")
		o.Nodes = twin.Nodes(1, 4)
		changed := trace
		changed.Jobs = append([]twin.Job(nil), trace.Jobs...)
		c.change(&changed, &o)
		if _, err := twin.Replay(context.Background(), changed, o); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := options(t, "fifo")
	o.Nodes = twin.Nodes(1, 4)
	if _, err := twin.Replay(ctx, trace, o); !errs.Is(err, errs.Canceled) {
		t.Errorf("a replay that was broken off: %v", err)
	}
}

func TestThePageNeedsNothingElseAndTrustsNoName(t *testing.T) {
	trace := table(t, "submit,duration,accelerators,queue\n0,10,1,<script>alert(1)<.script>\n3,10,1,other\n")
	o := options(t, "lineshaft")
	o.Nodes = twin.Nodes(1, 1)
	var b bytes.Buffer
	if err := replayed(t, trace, o).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, never := range []string{"<script>alert", "http://", "https://", "ZgotmplZ", "NaN", "Inf", "%!"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, must := range []string{"Mean wait", "平均等待", "prefers-color-scheme: dark", "&lt;script&gt;alert(1)"} {
		if !strings.Contains(page, must) {
			t.Errorf("the page lacks %q", must)
		}
	}
	if n := strings.Count(page, "<svg"); n != 3 {
		t.Errorf("the page has %d charts, want 3", n)
	}
}
