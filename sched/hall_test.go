package sched_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// world is a hall as one would keep it with paper and pencil: lists of what lies where, added up anew for each question.
type world struct {
	nodes []fleet.Node
	racks []fleet.Rack
	caps  []fleet.PowerCap
	held  []sched.Placement
}

func randomWorld(r *rand.Rand) *world {
	w := &world{
		caps: []fleet.PowerCap{
			{Name: "site", Watts: units.Watts(3000 + r.IntN(9000))},
			{Name: "a", Parent: "site", Watts: units.Watts(1000 + r.IntN(5000))},
			{Name: "b", Parent: "site"},
			{Name: "b1", Parent: "b", Watts: units.Watts(500 + r.IntN(3000))},
		},
		racks: []fleet.Rack{{Name: "r1", Uplink: units.BitsPerSecond(r.IntN(3) * 10e9)}, {Name: "r2", Uplink: 20e9}},
	}
	for i := range 1 + r.IntN(12) {
		n := fleet.Node{
			Name: fmt.Sprintf("n%02d", r.IntN(80)), CPU: float64(1 + r.IntN(64)), Memory: units.Bytes(1+r.IntN(256)) * units.GiB, Disk: 50 * units.GiB,
			Storage: units.Bytes(r.IntN(2)) * 100 * units.GiB, Bandwidth: units.BitsPerSecond(r.IntN(3) * 10e9),
			Rack: []string{"", "r1", "r2", "r3"}[r.IntN(4)], Feed: []string{"", "a", "b", "b1", "gone"}[r.IntN(5)], Cordoned: r.IntN(10) == 0,
		}
		if r.IntN(2) == 0 {
			n.IdleWatts, n.MaxWatts = 100, units.Watts(200+r.IntN(2000))
		}
		models := []string{"A", "B", "C"}
		model := models[r.IntN(3)]
		for d := range r.IntN(9) {
			if r.IntN(12) == 0 {
				model = models[r.IntN(3)]
			}
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{
				ID: fmt.Sprint(d), Model: model, Kind: map[string]string{"A": "", "B": "gpu", "C": "npu"}[model], Memory: map[string]units.Bytes{"A": 16, "B": 80, "C": 0}[model] * units.GiB,
				Domain: []string{"", "", fmt.Sprintf("%s/%d", n.Name, d/4), fmt.Sprintf("nvl%d", i/3)}[i%4], Watts: map[string]units.Watts{"A": 250, "B": 700, "C": 0}[model],
			})
		}
		if !slices.ContainsFunc(w.nodes, func(o fleet.Node) bool { return o.Name == n.Name }) {
			w.nodes = append(w.nodes, n)
		}
	}
	return w
}

func randomAsk(r *rand.Rand) sched.Ask {
	a := sched.Ask{CPU: float64(r.IntN(80)) / 10, Memory: units.Bytes(r.IntN(16)) * units.GiB}
	if r.IntN(3) > 0 {
		a.Accelerators = 1 + r.IntN(2)*r.IntN(4)
		a.Models = [][]string{nil, nil, {"A"}, {"A", "B"}, {"C"}}[r.IntN(5)]
		a.Kind = []string{"", "", "", "gpu", "npu", "tpu"}[r.IntN(6)]
		a.AcceleratorMemory = units.Bytes(r.IntN(4)*r.IntN(20)) * units.GiB
		if a.Accelerators == 1 && r.IntN(2) == 0 {
			a.Share = 1 + r.IntN(1000)
		}
	}
	for _, f := range []func(){
		func() { a.Disk = units.Bytes(r.IntN(30)) * units.GiB },
		func() { a.Storage = units.Bytes(r.IntN(60)) * units.GiB },
		func() { a.Bandwidth = units.BitsPerSecond(r.IntN(8)) * 1e9 },
		func() { a.Watts = units.Watts(r.IntN(500)) },
	} {
		if r.IntN(4) == 0 {
			f()
		}
	}
	return a
}

func randomGang(r *rand.Rand, id int) sched.Gang {
	g := sched.Gang{ID: fmt.Sprint(id), Each: randomAsk(r)}
	for i := range 1 + r.IntN(2)*r.IntN(8) {
		g.Tasks = append(g.Tasks, 10+i)
	}
	if r.IntN(4) == 0 {
		g.Min = 1 + r.IntN(len(g.Tasks))
	}
	if r.IntN(3) == 0 {
		g.Topology = sched.Topology{Level: []string{sched.LevelDomain, sched.LevelNode, sched.LevelRack}[r.IntN(3)], Hard: r.IntN(2) == 0}
	}
	return g
}

func kindOf(a fleet.Accelerator) string {
	if a.Kind == "" {
		return "gpu"
	}
	return a.Kind
}

func suits(a sched.Ask, d fleet.Accelerator) bool {
	return (a.Kind == "" || a.Kind == kindOf(d)) && (len(a.Models) == 0 || slices.Contains(a.Models, d.Model)) && d.Memory >= a.AcceleratorMemory
}

func share(a sched.Ask) int {
	if a.Share == 0 {
		return 1000
	}
	return a.Share
}

func deviceMemory(a sched.Ask, d fleet.Accelerator) units.Bytes {
	switch {
	case share(a) == 1000:
		return d.Memory
	case a.AcceleratorMemory > 0:
		return a.AcceleratorMemory
	}
	return d.Memory * units.Bytes(a.Share) / 1000
}

func draws(a sched.Ask, n fleet.Node) float64 {
	if a.Watts > 0 || a.Accelerators == 0 {
		return float64(a.Watts)
	}
	most := units.Watts(0)
	for _, d := range n.Accelerators {
		if suits(a, d) {
			most = max(most, d.Watts)
		}
	}
	return float64(most) * float64(a.Accelerators*share(a)) / 1000
}

// under tells whether the node hangs below the cap.
func (w *world) under(n fleet.Node, name string) bool {
	for feed := n.Feed; feed != ""; {
		i := slices.IndexFunc(w.caps, func(c fleet.PowerCap) bool { return c.Name == feed })
		if i < 0 {
			return false
		}
		if feed == name {
			return true
		}
		feed = w.caps[i].Parent
	}
	return false
}

// fails lists the constraints that the node fails for one more task.
func (w *world) fails(n fleet.Node, a sched.Ask) (out []string) {
	var cores, power float64
	var memory, disk, storage units.Bytes
	var net units.BitsPerSecond
	milli, taken := map[string]int{}, map[string]units.Bytes{}
	for _, p := range w.held {
		if p.Node != n.Name {
			continue
		}
		cores, memory, disk, storage, net, power = cores+p.Ask.CPU, memory+p.Ask.Memory, disk+p.Ask.Disk, storage+p.Ask.Storage, net+p.Ask.Bandwidth, power+draws(p.Ask, n)
		for _, d := range n.Accelerators {
			if slices.Contains(p.Accelerators, d.ID) {
				milli[d.ID] += share(p.Ask)
				taken[d.ID] += deviceMemory(p.Ask, d)
			}
		}
	}
	add := func(name string, yes bool) {
		if yes {
			out = append(out, name)
		}
	}
	const slack = 1e-6
	add("cpu", cores+a.CPU > n.CPU+slack)
	add("memory", memory+a.Memory > n.Memory)
	add("disk", disk+a.Disk > n.Disk)
	add("storage", n.Storage > 0 && storage+a.Storage > n.Storage)
	add("bandwidth", n.Bandwidth > 0 && net+a.Bandwidth > n.Bandwidth)
	add("power", n.MaxWatts > 0 && power+draws(a, n) > float64(n.MaxWatts-n.IdleWatts)+slack)
	has, free := 0, 0
	for _, d := range n.Accelerators {
		if suits(a, d) {
			has++
			if milli[d.ID]+share(a) <= 1000 && taken[d.ID]+deviceMemory(a, d) <= d.Memory {
				free++
			}
		}
	}
	add("accelerators", a.Accelerators > free && a.Accelerators <= has)
	add("model", a.Accelerators > has)
	add("nodes", n.Cordoned)
	for _, c := range w.caps {
		drawn := draws(a, n)
		for _, m := range w.nodes {
			if w.under(m, c.Name) {
				drawn += float64(m.IdleWatts)
				for _, p := range w.held {
					if p.Node == m.Name {
						drawn += draws(p.Ask, m)
					}
				}
			}
		}
		if w.under(n, c.Name) && c.Watts > 0 && drawn > float64(c.Watts)+slack && draws(a, n) > 0 {
			return append(out, "power cap")
		}
	}
	return out
}

func (w *world) node(name string) fleet.Node {
	return w.nodes[slices.IndexFunc(w.nodes, func(n fleet.Node) bool { return n.Name == name })]
}

// uplinksHold checks what gangs that span racks take of the uplinks.
func (w *world) uplinksHold() error {
	racks, used := map[string]map[string]bool{}, map[string]units.BitsPerSecond{}
	for _, p := range w.held {
		if racks[p.Gang] == nil {
			racks[p.Gang] = map[string]bool{}
		}
		racks[p.Gang][w.node(p.Node).Rack] = true
	}
	for _, p := range w.held {
		if len(racks[p.Gang]) > 1 {
			used[w.node(p.Node).Rack] += p.Ask.Bandwidth
		}
	}
	for _, r := range w.racks {
		if r.Uplink > 0 && used[r.Name] > r.Uplink {
			return fmt.Errorf("uplink of %s: %v of %v", r.Name, used[r.Name], r.Uplink)
		}
	}
	return nil
}

// near tells whether the placements lie as the topology wants.
func (w *world) near(g sched.Gang, list []sched.Placement) bool {
	at := map[string]bool{}
	for _, p := range list {
		n := w.node(p.Node)
		switch g.Topology.Level {
		case sched.LevelNode:
			at[n.Name] = true
		case sched.LevelRack:
			at[n.Rack] = true
		case sched.LevelDomain:
			for _, d := range n.Accelerators {
				if slices.Contains(p.Accelerators, d.ID) {
					at[d.Domain] = true
				}
			}
		}
	}
	return len(at) <= 1 && !at[""]
}

// accept holds the placements one by one, and says which does not fit.
func (w *world) accept(g sched.Gang, list []sched.Placement) error {
	for i, p := range list {
		if fails := w.fails(w.node(p.Node), p.Ask); len(fails) > 0 {
			return fmt.Errorf("task %d goes to %s, which fails %v", p.Task, p.Node, fails)
		}
		if len(p.Accelerators) != g.Each.Accelerators {
			return fmt.Errorf("task %d has the devices %v", p.Task, p.Accelerators)
		}
		for k, id := range p.Accelerators {
			n := w.node(p.Node)
			d := n.Accelerators[slices.IndexFunc(n.Accelerators, func(a fleet.Accelerator) bool { return a.ID == id })]
			if !suits(p.Ask, d) || slices.Contains(p.Accelerators[:k], id) {
				return fmt.Errorf("task %d has the device %+v", p.Task, d)
			}
			held := share(p.Ask)
			for _, o := range w.held {
				if o.Node == p.Node && slices.Contains(o.Accelerators, id) {
					held += share(o.Ask)
				}
			}
			if held > 1000 {
				return fmt.Errorf("%d thousandths of device %s of %s are given", held, id, p.Node)
			}
		}
		if p.Task != g.Tasks[i] || p.Gang != g.ID || !reflect.DeepEqual(p.Ask, g.Each) {
			return fmt.Errorf("placement %d is %+v", i, p)
		}
		w.held = append(w.held, p)
	}
	least := len(g.Tasks)
	if g.Min > 0 {
		least = g.Min
	}
	if len(list) < least || len(list) > len(g.Tasks) {
		return fmt.Errorf("%d of the %d tasks are placed, at least %d must be", len(list), len(g.Tasks), least)
	}
	if g.Topology.Hard && (len(g.Tasks) > 1 || g.Each.Accelerators > 0) && !w.near(g, list) && (g.Topology.Level == sched.LevelDomain && g.Each.Accelerators > 0 || len(list) > 1) {
		return fmt.Errorf("%+v is placed apart: %+v", g.Topology, list)
	}
	return w.uplinksHold()
}

// refused compares the reasons of a single task with what each node fails.
func (w *world) refused(g sched.Gang, reasons []sched.Reason) error {
	if len(reasons) == 0 {
		return fmt.Errorf("no reason")
	}
	if len(g.Tasks) > 1 || g.Topology.Level != "" {
		return nil
	}
	want, got := map[string]int{}, map[string]int{}
	for _, n := range w.nodes {
		fails := w.fails(n, g.Each)
		if len(fails) == 0 {
			return fmt.Errorf("%s has room", n.Name)
		}
		for _, f := range fails {
			want[f]++
		}
	}
	for _, r := range reasons {
		got[r.Constraint] = r.Nodes
		if len(r.Examples) == 0 || r.Needed == "" || r.Offered == "" || r.Detail == "" {
			return fmt.Errorf("an empty reason: %+v", r)
		}
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("the reasons count %v, the nodes fail %v", got, want)
	}
	return nil
}

func runHall(t *testing.T, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 7))
	w := randomWorld(r)
	var mix []sched.Ask
	for range r.IntN(12) {
		mix = append(mix, randomAsk(r))
	}
	h := sched.NewHall(w.nodes, w.caps, w.racks, sched.MixOf(mix))
	empty := h.State()
	fail := func(step int, err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("seed %d, step %d: %v", seed, step, err)
		}
	}
	for step := range steps {
		if r.IntN(3) == 0 && len(w.held) > 0 {
			gone := w.held[r.IntN(len(w.held))].Gang
			w.held = slices.DeleteFunc(w.held, func(p sched.Placement) bool {
				if p.Gang == gone {
					h.Release(p)
				}
				return p.Gang == gone
			})
			continue
		}
		if r.IntN(20) == 0 {
			mix = append(mix, randomAsk(r))
			h.Expect(sched.MixOf(mix))
			empty = sched.NewHall(w.nodes, w.caps, w.racks, sched.MixOf(mix)).State()
		}
		g := randomGang(r, step)
		before, twin := h.State(), h.Clone()
		d := twin.Place(g)
		if h.State() != before {
			fail(step, fmt.Errorf("a clone's placement changed the hall"))
		}
		if again := h.Place(g); !reflect.DeepEqual(d, again) {
			fail(step, fmt.Errorf("the clone says %+v, the hall %+v", d, again))
		}
		if twin.State() != h.State() {
			fail(step, fmt.Errorf("clone and hall differ"))
		}
		if len(d.Placements) > 0 {
			fail(step, w.accept(g, d.Placements))
		} else {
			if h.State() != before {
				fail(step, fmt.Errorf("a refused gang left something behind"))
			}
			fail(step, w.refused(g, d.Reasons))
		}
		if step%8 == 0 {
			fail(step, h.Check())
			fail(step, twin.Check())
		}
	}
	rebuilt := sched.NewHall(w.nodes, w.caps, w.racks, sched.MixOf(mix))
	by := map[string]*sched.Running{}
	for _, p := range w.held {
		if by[p.Gang] == nil {
			by[p.Gang] = &sched.Running{}
		}
		p.Uplink = 0 // Start finds it
		by[p.Gang].Placements = append(by[p.Gang].Placements, p)
	}
	for _, id := range sortedKeys(by) {
		rebuilt.Start(*by[id])
	}
	if rebuilt.State() != h.State() {
		fail(steps, fmt.Errorf("a hall made from what runs differs:\n%s\n%s", rebuilt.State(), h.State()))
	}
	for _, p := range w.held {
		h.Release(p)
	}
	if h.State() != empty {
		fail(steps, fmt.Errorf("everything is released and the hall is not as it was"))
	}
}

func sortedKeys(m map[string]*sched.Running) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func TestNoHistoryOfTheHallGivesMoreThanThereIs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		runHall(t, seed, 40)
	}
}

func TestWhatNoTaskCanMeanIsRefusedInWords(t *testing.T) {
	h := sched.NewHall([]fleet.Node{node("n1", 8, "a")}, nil, nil, nil)
	nan := 0.0
	nan /= nan
	for _, g := range []sched.Gang{
		{Tasks: []int{0}, Each: sched.Ask{CPU: nan}},
		{Tasks: []int{0}, Each: sched.Ask{CPU: -1}},
		{Tasks: []int{0}, Each: sched.Ask{CPU: 1e300}},
		{Tasks: []int{0}, Each: sched.Ask{Memory: -1}},
		{Tasks: []int{0}, Each: sched.Ask{Accelerators: -1}},
		{Tasks: []int{0}, Each: sched.Ask{Accelerators: 2, Share: 500}},
		{Tasks: []int{0}, Each: sched.Ask{Accelerators: 1, Share: 1001}},
		{Tasks: []int{0}, Each: sched.Ask{Watts: units.Watts(nan)}},
		{Tasks: []int{0}, Each: sched.Ask{Bandwidth: 1 << 62}},
		{Tasks: nil},
		{Tasks: []int{0}, Min: 2},
		{Tasks: []int{0}, Topology: sched.Topology{Level: "galaxy"}},
	} {
		d := h.Place(g)
		if len(d.Placements) > 0 || len(d.Reasons) != 1 || d.Reasons[0].Constraint != "request" || !strings.Contains(d.Reasons[0].Detail, "nothing can hold it") {
			t.Errorf("%+v: %+v", g, d)
		}
	}
}

func TestCapsInACircleBoundEachOther(t *testing.T) {
	n := node("n1", 8)
	n.Feed = "a"
	h := sched.NewHall([]fleet.Node{n}, []fleet.PowerCap{{Name: "a", Parent: "b", Watts: 500}, {Name: "b", Parent: "a", Watts: 100}, {Name: "b", Watts: 1}}, nil, nil)
	if d := h.Place(gang("x", 0, 0, 1, sched.Ask{Watts: 101})); len(d.Reasons) != 1 || d.Reasons[0].Constraint != "power cap" || d.Reasons[0].Offered != "100 W under b" {
		t.Fatalf("%+v", d)
	}
	if d := h.Place(gang("x", 0, 0, 1, sched.Ask{Watts: 100})); len(d.Placements) != 1 {
		t.Fatalf("%+v", d)
	}
}
