package sched_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/sched"
)

// work is a gang of one task and as many accelerators.
func work(id, user, name string, accelerators int, since time.Time) sched.Gang {
	return sched.Gang{ID: id, Queue: "q", User: user, Name: name, Since: since, Tasks: []int{0}, Each: sched.Ask{Accelerators: accelerators}}
}

// taught is a predictor that has seen n runs of a user and name, hours apart, each about as long.
func taught(n int, user, name string, long time.Duration) *sched.Predictor {
	p := sched.NewPredictor()
	for i := range n {
		g := work(fmt.Sprint(user, name, i), user, name, 1, time.Unix(int64(i)*7200, 0))
		p.Submitted(g)
		p.Ended(g, long+time.Duration(i%5)*time.Second)
	}
	return p
}

func near(got, want time.Duration, factor float64) bool {
	return math.Abs(math.Log(got.Seconds()/want.Seconds())) <= math.Log(factor)
}

func TestAForecastSaysWhatRunsOfItsKindTook(t *testing.T) {
	p := taught(40, "ann", "train", time.Hour)
	known := p.Forecast(work("x", "ann", "train", 1, time.Unix(1e6, 0)), 0)
	if !near(known.Median, time.Hour, 1.3) || known.Low > known.Median || known.High < known.Median || known.From == "" {
		t.Errorf("after 40 runs of an hour: %+v", known)
	}
	nothing := sched.NewPredictor().Forecast(work("x", "ann", "train", 1, time.Unix(1e6, 0)), 0)
	if nothing.From != "" || nothing.High.Seconds()/nothing.Low.Seconds() < 1000 {
		t.Errorf("of nothing it claims to know much: %+v", nothing)
	}
	if e := p.Errors(); e.Runs == 0 || e.Factor > 2 || e.Twice < 0.8 {
		t.Errorf("the errors were %+v", e)
	}
}

func TestAUsersOwnRunsCountMoreThanThoseOfOthers(t *testing.T) {
	p := taught(60, "ann", "train", 10*time.Minute)
	for i := range 40 {
		g := work(fmt.Sprint("b", i), "ben", "fit", 1, time.Unix(1e6+int64(i)*7200, 0))
		p.Submitted(g)
		p.Ended(g, 20*time.Hour)
	}
	ann := p.Forecast(work("x", "ann", "train", 1, time.Unix(1e7, 0)), 0)
	ben := p.Forecast(work("y", "ben", "fit", 1, time.Unix(1e7, 0)), 0)
	if !near(ann.Median, 10*time.Minute, 1.5) || !near(ben.Median, 20*time.Hour, 1.5) || ann.Index >= ben.Index {
		t.Errorf("ann's %+v, ben's %+v", ann, ben)
	}
}

func TestTheFirstOfABatchToEndTellsAboutTheRest(t *testing.T) {
	p := taught(30, "ann", "train", time.Minute)
	since := time.Unix(1e6, 0)
	var batch []sched.Gang
	for i := range 6 {
		g := work(fmt.Sprint("s", i), "ann", fmt.Sprint("sweep", i), 1, since.Add(time.Duration(i)*time.Second))
		p.Submitted(g)
		batch = append(batch, g)
	}
	before := p.Forecast(batch[5], 0)
	for i := range 3 {
		p.Ended(batch[i], 8*time.Hour)
	}
	after := p.Forecast(batch[5], 0)
	if before.Median > time.Hour || !near(after.Median, 8*time.Hour, 1.6) {
		t.Errorf("before %+v, after three of its batch took 8 h %+v", before, after)
	}
	for i := 3; i < 5; i++ {
		p.Gone(batch[i].ID)
	}
	if again := p.Forecast(batch[5], 0); !near(again.Median, after.Median, 1.01) {
		t.Errorf("what was canceled changed %+v to %+v", after, again)
	}
}

func TestHowLongTheRestOfABatchHasRunIsEvidence(t *testing.T) {
	p := sched.NewPredictor()
	var batch []sched.Gang
	for i := range 20 {
		g := work(fmt.Sprint("s", i), "ann", "sweep", 1, time.Unix(1e6+int64(i), 0))
		p.Submitted(g)
		batch = append(batch, g)
	}
	before := p.Forecast(batch[0], 0)
	for _, g := range batch[1:] {
		p.Ran(g.ID, time.Minute)
		p.Ran(g.ID, 10*time.Hour)
	}
	if after := p.Forecast(batch[0], 0); after.Median < 4*before.Median || after.Low < time.Hour {
		t.Errorf("before %+v, after 19 have run for ten hours %+v", before, after)
	}
}

func TestTheLongerAHeavyTailedJobHasRunTheLaterItsTurn(t *testing.T) {
	p := sched.NewPredictor()
	for i := range 100 {
		g := work(fmt.Sprint(i), "ann", "train", 1, time.Unix(int64(i)*7200, 0))
		p.Submitted(g)
		long := time.Minute
		if i%5 == 0 {
			long = 50 * time.Hour
		}
		p.Ended(g, long)
	}
	g := work("x", "ann", "train", 1, time.Unix(1e7, 0))
	fresh, old, late := p.Forecast(g, 0), p.Forecast(g, time.Hour), p.Forecast(g, 49*time.Hour)
	if fresh.Index >= old.Index || late.Index >= old.Index {
		t.Errorf("the index goes from %v by %v to %v", fresh.Index, old.Index, late.Index)
	}
}

func TestWhatWasLearnedIsKeptAsData(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	p := sched.NewPredictor()
	var open []sched.Gang
	for i := range 300 {
		g := work(fmt.Sprint(i), fmt.Sprint("u", r.IntN(3)), fmt.Sprint("n", r.IntN(3)), 1+r.IntN(2), time.Unix(int64(i)*int64(r.IntN(120)), 0))
		p.Submitted(g)
		p.Ran(g.ID, time.Duration(r.IntN(9000))*time.Second)
		if r.IntN(3) > 0 {
			p.Ended(g, time.Duration(math.Exp(r.Float64()*12)*float64(time.Second)))
		} else {
			open = append(open, g)
		}
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var q sched.Predictor
	if err := json.Unmarshal(raw, &q); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(&q); err != nil || !bytes.Equal(raw, again) {
		t.Fatalf("read and written again it differs: %v", err)
	}
	for _, g := range open {
		a, b := p.Forecast(g, time.Minute), q.Forecast(g, time.Minute)
		if !near(a.Median+1, b.Median+1, 1.001) || math.Abs(a.Index-b.Index) > 1e-3*a.Index || a.From != b.From {
			t.Fatalf("%s: %+v became %+v", g.ID, a, b)
		}
	}
	for _, bad := range []string{`{`, `{"kinds":{"all":{"99":1}}}`, `{"kinds":{"all":{"3":-1}}}`, `{"streams":{"q":{"next":1,"jobs":[{"id":"a","place":1}]}}}`, `{"alike":[{"pairs":-1}]}`} {
		if json.Unmarshal([]byte(bad), sched.NewPredictor()) == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestForecastsThatAreKeptAreThoseMadeAfresh(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 9))
	p, now := sched.NewPredictor(), time.Unix(1e6, 0)
	live, ran := map[string]sched.Gang{}, map[string]time.Duration{}
	for i := range 400 {
		if r.IntN(8) == 0 {
			now = now.Add(time.Duration(r.IntN(7200)) * time.Second)
		}
		now = now.Add(time.Duration(r.IntN(20)) * time.Second)
		g := work(fmt.Sprint(i), "ann", fmt.Sprint("n", r.IntN(2)), 1+r.IntN(2), now)
		live[g.ID] = g
		p.Submitted(g)
		for _, id := range slices.Sorted(maps.Keys(live)) {
			switch r.IntN(20) {
			case 0, 1:
				p.Ended(live[id], ran[id]+time.Duration(r.IntN(900))*time.Second)
				delete(live, id)
			case 2:
				if r.IntN(5) == 0 {
					p.Gone(id)
					delete(live, id)
				}
			case 3, 4, 5, 6:
				ran[id] += time.Duration(r.IntN(900)) * time.Second
				p.Ran(id, ran[id])
			}
		}
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		afresh := sched.NewPredictor()
		if i%7 == 0 {
			if err := json.Unmarshal(raw, afresh); err != nil {
				t.Fatal(err)
			}
		}
		for id, g := range live {
			a := p.Forecast(g, ran[id])
			if i%7 != 0 {
				continue
			}
			if b := afresh.Forecast(g, ran[id]); math.Abs(a.Index-b.Index) > 1e-3*a.Index || a.From != b.From {
				t.Fatalf("step %d: %s is kept as %+v, afresh it is %+v", i, id, a, b)
			}
		}
	}
}

func TestHowAlikeNeighboursAreIsLearned(t *testing.T) {
	sweeps := func(alike bool) sched.Forecast {
		r, p, now := rand.New(rand.NewPCG(5, 5)), sched.NewPredictor(), time.Unix(1e6, 0)
		var last sched.Gang
		for i := range 80 {
			now = now.Add(6 * time.Hour)
			long := math.Exp(r.Float64()*8 + 3)
			for k := range 4 {
				if !alike {
					long = math.Exp(r.Float64()*8 + 3)
				}
				g := work(fmt.Sprint(i, "-", k), "ann", fmt.Sprint("n", i, k), 1, now.Add(time.Duration(k)*time.Second))
				p.Submitted(g)
				if last = g; i == 79 && k == 3 {
					break
				}
				if i == 79 {
					long = 100
				}
				p.Ended(g, time.Duration(long*float64(time.Second)))
			}
		}
		return p.Forecast(last, 0)
	}
	if f := sweeps(true); f.High > 10*time.Minute || f.Median > 3*time.Minute {
		t.Errorf("where sweeps are of one length and three of this one took 100 s: %+v", f)
	}
	if f := sweeps(false); f.High < time.Hour {
		t.Errorf("where they are not: %+v", f)
	}
}
