package sched_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/solve"
)

// solver is HiGHS, interpreted; one for all tests, because loading it takes most of the time.
func solver(t testing.TB) *solve.Engine {
	e := interpreted()
	if !e.Built() {
		t.Fatal("this tree has no HiGHS yet: run `make solve/highs/build/highs.wasm`")
	}
	return e
}

var interpreted = sync.OnceValue(func() *solve.Engine { return solve.New(solve.Config{}) })

// recorder keeps the problems that it passes on.
type recorder struct {
	sched.Solver
	seen []*lp.Problem
}

func (r *recorder) Solve(ctx context.Context, p *lp.Problem, o lp.Options) (*lp.Solution, error) {
	r.seen = append(r.seen, p)
	return r.Solver.Solve(ctx, p, o)
}

// byPriority makes a gang worth its priority, so that tests can say what each is worth.
func byPriority(g sched.Gang) float64 { return float64(g.Priority) }

func TestTheArticlesTasksAreBoundedPricedAndSelected(t *testing.T) {
	t.Parallel()
	s := solver(t)
	nodes := []fleet.Node{node("n1", 4, "h100", "h100", "h100", "h100")}
	gangs := []sched.Gang{gang("task1", 3, 0, 1, sched.Ask{CPU: 2, Accelerators: 4}), gang("task2", 2, 0, 1, sched.Ask{CPU: 1, Accelerators: 2})}
	h := sched.NewHall(nodes, nil, nil, nil)
	b, err := sched.Relax(context.Background(), h, gangs, byPriority, s, lp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%.6g %+v", b.Worth, b.Prices); got != "3.5 [{Resource:accelerators Unit:0.75 Free:4 Where:n1 Nodes:1 Model:h100}]" {
		t.Fatal(got)
	}
	if gap := b.Gap(3); math.Abs(gap-0.5/3.5) > 1e-9 {
		t.Fatalf("gap %v", gap)
	}
	for _, best := range []bool{false, true} {
		d := h.Clone().Pack(gangs, byPriority, 0)
		if best {
			if d, b, err = h.Clone().Best(context.Background(), gangs, byPriority, s, lp.Options{Nodes: 10}); err != nil || b.Worth != 3 {
				t.Fatalf("%+v, %v", b, err)
			}
		}
		if got := told(sched.Schedule{Decisions: d}); got != "task1:n1 task2:-" || len(d[1].Reasons) == 0 {
			t.Fatalf("%s %+v", got, d)
		}
	}
}

func TestTheBoundKnowsHowSharesFillDevices(t *testing.T) {
	s := solver(t)
	h := sched.NewHall([]fleet.Node{node("n1", 99, "a", "a"), node("n2", 99, "a", "a")}, nil, nil, nil)
	share := func(id string, n, milli int) sched.Gang {
		return gang(id, n, 0, n, sched.Ask{Accelerators: 1, Share: milli})
	}
	// Four devices hold four shares of 600 and, beside these, four of 400; a whole device more holds one thing alone.
	for want, gangs := range map[float64][]sched.Gang{
		4:      {share("x", 9, 600)},
		8:      {share("x", 9, 600), share("y", 9, 400)}, // or eight of 400
		3:      {share("x", 3, 600)},
		4.0001: {share("x", 4, 1000)},
	} {
		b, err := sched.Relax(context.Background(), h, gangs, byPriority, s, lp.Options{})
		if err != nil || math.Abs(b.Worth-want) > 1e-3 {
			t.Errorf("%d gangs: %v, want %v (%v)", len(gangs), b.Worth, want, err)
		}
	}
	h.Take(sched.Placement{Node: "n1", Ask: sched.Ask{Accelerators: 1, Share: 500}, Accelerators: []string{"0"}})
	if b, err := sched.Relax(context.Background(), h, []sched.Gang{share("x", 9, 600)}, byPriority, s, lp.Options{}); err != nil || math.Abs(b.Worth-3) > 1e-6 {
		t.Errorf("three devices are free for 600, the bound says %v (%v)", b.Worth, err)
	}
}

func TestWhatIsAlikeIsOneGroup(t *testing.T) {
	r := &recorder{Solver: solver(t)}
	var nodes []fleet.Node
	for i := range 500 {
		nodes = append(nodes, node(fmt.Sprintf("n%03d", i), 8, "a", "a"))
	}
	nodes[7].Cordoned = true
	var gangs []sched.Gang
	for i := range 300 {
		gangs = append(gangs, gang(fmt.Sprint("g", i), 4, 0, 4, sched.Ask{CPU: 4, Accelerators: 1}))
	}
	b, err := sched.Relax(context.Background(), sched.NewHall(nodes, nil, nil, nil), gangs, byPriority, r, lp.Options{})
	if err != nil || math.Abs(b.Worth-998) > 1e-6 {
		t.Fatalf("499 nodes hold two tasks each, of worth 1: %v (%v)", b.Worth, err)
	}
	if p := r.seen[0]; len(p.Columns) != 1 {
		t.Fatalf("the programme has %d columns", len(p.Columns))
	}
}

func TestPowerCapsHavePrices(t *testing.T) {
	n := node("n1", 64, "a", "a", "a", "a")
	n.Feed = "row"
	for i := range n.Accelerators {
		n.Accelerators[i].Watts = 500
	}
	other := n
	other.Name = "n2"
	h := sched.NewHall([]fleet.Node{n, other}, []fleet.PowerCap{{Name: "hall", Watts: 1200}, {Name: "row", Parent: "hall", Watts: 9000}}, nil, nil)
	s := solver(t)
	gangs := []sched.Gang{gang("a", 6, 0, 1, sched.Ask{Accelerators: 3}), gang("b", 2, 0, 1, sched.Ask{Accelerators: 1})}
	b, err := sched.Relax(context.Background(), h, gangs, byPriority, s, lp.Options{})
	if err != nil || fmt.Sprintf("%.4g %+v", b.Worth, b.Prices) != "2 []" {
		t.Fatalf("3 devices draw 1500 W and the cap is 1200 W, so only b counts: %v %v (%v)", b.Worth, b.Prices, err)
	}
	gangs[0].Tasks = []int{0, 1, 2}
	gangs[0].Each.Accelerators = 1
	b, err = sched.Relax(context.Background(), h, gangs, byPriority, s, lp.Options{})
	if err != nil || fmt.Sprintf("%.4g %+v", b.Worth, b.Prices) != "4.8 [{Resource:power Unit:0.004 Free:1200 Where:hall Nodes:0 Model:}]" {
		t.Fatalf("%v %+v (%v)", b.Worth, b.Prices, err)
	}
}

// contest is a small random hall with gangs that do not all fit.
func contest(r *rand.Rand, nodes, gangs int) ([]fleet.Node, []sched.Gang) {
	var list []fleet.Node
	for i := range nodes {
		n := node(fmt.Sprint("n", i), float64(2+r.IntN(6)))
		for d := range 1 + r.IntN(4) {
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: fmt.Sprint(d), Model: "a"})
		}
		list = append(list, n)
	}
	var waiting []sched.Gang
	for i := range gangs {
		waiting = append(waiting, gang(fmt.Sprint("g", i), 1+r.IntN(9), 0, 1+r.IntN(3), sched.Ask{CPU: float64(1 + r.IntN(3)), Accelerators: r.IntN(3), Memory: units.GiB}))
	}
	return list, waiting
}

// exhaustive is the worth of the best plan, by trying all.
func exhaustive(nodes []fleet.Node, gangs []sched.Gang) float64 {
	cpu, devices := make([]float64, len(nodes)), make([]int, len(nodes))
	for i, n := range nodes {
		cpu[i], devices[i] = n.CPU, len(n.Accelerators)
	}
	var gangAt func(g int) float64
	var taskAt func(g, task, from int) float64
	gangAt = func(g int) float64 {
		if g == len(gangs) {
			return 0
		}
		return max(gangAt(g+1), taskAt(g, 0, 0))
	}
	taskAt = func(g, task, from int) float64 {
		if task == len(gangs[g].Tasks) {
			return byPriority(gangs[g]) + gangAt(g+1)
		}
		best, a := math.Inf(-1), gangs[g].Each
		for n := from; n < len(nodes); n++ {
			if cpu[n] < a.CPU || devices[n] < a.Accelerators {
				continue
			}
			cpu[n], devices[n] = cpu[n]-a.CPU, devices[n]-a.Accelerators
			best = max(best, taskAt(g, task+1, n))
			cpu[n], devices[n] = cpu[n]+a.CPU, devices[n]+a.Accelerators
		}
		return best
	}
	return gangAt(0)
}

// checkContest holds Pack, Best and Relax against the best of all plans.
func checkContest(t *testing.T, s sched.Solver, seed uint64) (packed, best float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	nodes, gangs := contest(r, 2+r.IntN(2), 3+r.IntN(4))
	h := sched.NewHall(nodes, nil, nil, nil)
	before := h.State()
	plan := h.Pack(gangs, byPriority, 0)
	packed = sched.Total(gangs, plan, byPriority)
	if again := sched.NewHall(nodes, nil, nil, nil).Pack(gangs, byPriority, 0); !reflect.DeepEqual(plan, again) {
		t.Fatalf("seed %d: two plans for one contest", seed)
	}
	valid(t, seed, nodes, gangs, plan)
	for _, d := range plan {
		for _, p := range d.Placements {
			h.Release(p)
		}
	}
	if h.State() != before {
		t.Fatalf("seed %d: what Pack placed is not what it took", seed)
	}
	exact, bound, err := h.Best(context.Background(), gangs, byPriority, s, lp.Options{Nodes: 200})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	valid(t, seed, nodes, gangs, exact)
	best = exhaustive(nodes, gangs)
	got := sched.Total(gangs, exact, byPriority)
	if packed > best || got != best || bound.Worth < best-1e-6 {
		t.Fatalf("seed %d: the best is worth %v; packed %v, exact %v, bound %v", seed, best, packed, got, bound.Worth)
	}
	return packed, best
}

// valid checks that the plan gives no node's resources twice and places gangs whole or says why not.
func valid(t *testing.T, seed uint64, nodes []fleet.Node, gangs []sched.Gang, plan []sched.Decision) {
	t.Helper()
	cpu, given := map[string]float64{}, map[string]bool{}
	for i, d := range plan {
		if d.Gang != gangs[i].ID || len(d.Placements) != 0 && len(d.Placements) != len(gangs[i].Tasks) || (len(d.Placements) == 0) != (len(d.Reasons) > 0) {
			t.Fatalf("seed %d: %+v", seed, d)
		}
		for _, p := range d.Placements {
			cpu[p.Node] += p.Ask.CPU
			for _, id := range p.Accelerators {
				if given[p.Node+"/"+id] {
					t.Fatalf("seed %d: device %s of %s is given twice", seed, id, p.Node)
				}
				given[p.Node+"/"+id] = true
			}
		}
	}
	for _, n := range nodes {
		if cpu[n.Name] > n.CPU {
			t.Fatalf("seed %d: %s gives %v of %v cores", seed, n.Name, cpu[n.Name], n.CPU)
		}
	}
}

func TestNoPlanIsWorthMoreThanTheBound(t *testing.T) {
	t.Parallel()
	s := solver(t)
	packed, best := 0.0, 0.0
	for seed := range uint64(5) {
		p, b := checkContest(t, s, seed)
		packed, best = packed+p, best+b
	}
	if packed < 0.97*best {
		t.Fatalf("packing reaches %v of %v", packed, best)
	}
}

func TestAStrongSearchNeedsNoLuckyOrder(t *testing.T) {
	// Two nodes of 4: a greedy plan puts the dense pair apart and leaves the wide gang out.
	h := sched.NewHall([]fleet.Node{node("n1", 4), node("n2", 4)}, nil, nil, nil)
	gangs := []sched.Gang{
		gang("dense", 4, 0, 1, sched.Ask{CPU: 3}), gang("wide", 6, 0, 2, sched.Ask{CPU: 4}), gang("small", 1, 0, 1, sched.Ask{CPU: 1}),
	}
	if got := told(sched.Schedule{Decisions: h.Pack(gangs, byPriority, 0)}); got != "dense:- wide:n1,n2 small:-" {
		t.Fatal(got)
	}
}

func TestAppraiseTellsThePlanAndTheBest(t *testing.T) {
	snapshot := sched.Snapshot{
		Nodes: []fleet.Node{node("n1", 4, "a", "a"), node("n2", 4, "a", "a")},
		Queue: []sched.Gang{gang("old", 0, 9, 1, sched.Ask{Accelerators: 1}), gang("pair", 0, 1, 2, sched.Ask{Accelerators: 2})},
	}
	a, err := sched.Appraise(context.Background(), snapshot, sched.Plan(snapshot), solver(t), lp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%.3f of %.3f, gap %.2f", a.Planned, a.Worth, a.Gap(a.Planned)); got != "0.250 of 1.000, gap 0.75" {
		t.Fatal(got)
	}
	if !strings.HasPrefix(fmt.Sprint(a.Prices), "[{accelerators 0.25") {
		t.Fatal(a.Prices)
	}
}
