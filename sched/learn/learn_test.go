package learn_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/learn"
)

var percent = learn.Measure{Name: "allocation", Unit: "%"}

// hill is a problem whose best is at congestion 60 and scarcity 0, by 10 points better than the default; noise is what
// differs between episodes for one arm and not the other.
func hill(noise float64) learn.Problem {
	knobs, err := learn.Named("congestion", "scarcity", "power")
	if err != nil {
		panic(err)
	}
	return learn.Problem{
		Knobs: knobs, Measure: percent, Episodes: 6,
		Pull: func(p sched.Policy, episode int) (float64, error) {
			w := p.Weights
			if w == (sched.Weights{}) {
				w = sched.DefaultWeights()
			}
			r := rand.New(rand.NewPCG(math.Float64bits(w.Congestion+1000*w.Scarcity), uint64(episode)))
			far := math.Abs(math.Log(max(w.Congestion, 0.1)/60)) + w.Scarcity/15
			return 80 - 5*far + noise*r.NormFloat64() + 3*math.Sin(float64(episode)), nil
		},
	}
}

func TestSearchFindsAKnownBetterSetting(t *testing.T) {
	for seed := range uint64(10) {
		found, err := learn.Search(hill(0.1), learn.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		c := learn.Compare(percent, found.Default, found.Learned)
		if c.Gain < 8 {
			t.Errorf("seed %d: %v gains %v of 10.5 points", seed, found.Numbers, c.Gain)
		}
		if found.Numbers["power"] != sched.DefaultWeights().Power {
			t.Errorf("seed %d: power is %v, and nothing feels it: it is not to be changed", seed, found.Numbers["power"])
		}
	}
}

func TestSearchIsTheSameForOneSeedAndPullsEachPairOnce(t *testing.T) {
	run := func(seed uint64) learn.Found {
		p := hill(1)
		pull, seen := p.Pull, map[string]bool{}
		p.Pull = func(policy sched.Policy, e int) (float64, error) {
			key := strings.Join([]string{learn.Of(policy, p.Knobs).String(), string(rune('0' + e))}, "|")
			if seen[key] {
				t.Fatalf("%s is pulled twice", key)
			}
			seen[key] = true
			return pull(policy, e)
		}
		found, err := learn.Search(p, learn.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if found.Pulls != len(seen) {
			t.Errorf("%d pulls are counted of %d", found.Pulls, len(seen))
		}
		return found
	}
	one, two, other := run(7), run(7), run(8)
	if !reflect.DeepEqual(one, two) {
		t.Errorf("two runs with one seed differ: %+v and %+v", one, two)
	}
	if reflect.DeepEqual(one.Numbers, other.Numbers) && one.Tried == other.Tried {
		t.Errorf("another seed tried the same: %+v", other)
	}
}

func TestSearchKeepsTheDefaultWhereNothingIsBetter(t *testing.T) {
	p := hill(0)
	p.Default.Weights = sched.DefaultWeights()
	p.Default.Weights.Congestion, p.Default.Weights.Scarcity = 60, 0
	found, err := learn.Search(p, learn.Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(found.Numbers, learn.Of(p.Default, p.Knobs)) {
		t.Errorf("found %v, the default is the best", found.Numbers)
	}
}

func TestNoiseIsNotLearned(t *testing.T) {
	used, lured := 0, 0
	const runs = 200
	for seed := range uint64(runs) {
		p := hill(0)
		p.Pull = func(p sched.Policy, episode int) (float64, error) { // the numbers change nothing but the luck
			r := rand.New(rand.NewPCG(math.Float64bits(p.Weights.Congestion+1000*p.Weights.Scarcity)+seed, uint64(episode)))
			return 80 + r.NormFloat64(), nil
		}
		found, err := learn.Search(p, learn.Options{Seed: seed, Rounds: 1, Arms: 16})
		if err != nil {
			t.Fatal(err)
		}
		if learn.Compare(percent, found.Default, found.Learned).Gain > 0 {
			lured++
		}
		var base, other []float64
		for e := range 8 {
			a, _ := p.Pull(sched.Policy{}, 100+e)
			b, _ := p.Pull(found.Numbers.In(sched.Policy{}), 100+e)
			base, other = append(base, a), append(other, b)
		}
		if verdict, why := learn.Judge(percent, learn.Compare(percent, base, other), 0.5); verdict == learn.Learned {
			used++
		} else if why == "" {
			t.Error("the default is kept and nothing says why")
		}
	}
	if lured < runs*3/4 {
		t.Errorf("luck looked like a gain in training in %d of %d runs: the test proves little", lured, runs)
	}
	if used > runs/20 { // 2.5 % are to be expected of the interval, less of the tolerance
		t.Errorf("luck was learned in %d of %d runs", used, runs)
	}
}

func TestSearchRefusesWhatItCannotDo(t *testing.T) {
	for name, change := range map[string]func(*learn.Problem, *learn.Options){
		"no knob":         func(p *learn.Problem, _ *learn.Options) { p.Knobs = nil },
		"no episode":      func(p *learn.Problem, _ *learn.Options) { p.Episodes = 0 },
		"too many rounds": func(_ *learn.Problem, o *learn.Options) { o.Rounds = 1000 },
		"one arm":         func(_ *learn.Problem, o *learn.Options) { o.Arms = 1 },
		"a bad default":   func(p *learn.Problem, _ *learn.Options) { p.Default.Weights.Power = -1 },
		"no number": func(p *learn.Problem, _ *learn.Options) {
			p.Pull = func(sched.Policy, int) (float64, error) { return math.NaN(), nil }
		},
	} {
		p, o := hill(0), learn.Options{}
		change(&p, &o)
		if _, err := learn.Search(p, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestJudgeUsesOnlyWhatIsSurelyNotWorse(t *testing.T) {
	hours := learn.Measure{Name: "jct", Unit: "h", Less: true}
	for name, c := range map[string]struct {
		m           learn.Measure
		base, other []float64
		tolerance   float64
		want, why   string
	}{
		"better everywhere":      {percent, []float64{90, 91, 92, 90}, []float64{91, 92.1, 93, 90.9}, 0, learn.Learned, "better than the default"},
		"better in less time":    {hours, []float64{10, 12, 9}, []float64{9, 11, 8}, 0, learn.Learned, "better"},
		"worse in more time":     {hours, []float64{9, 11, 8}, []float64{10, 12, 9}, 0, learn.Default, "may be worse"},
		"better by luck":         {percent, []float64{90, 91, 92, 90}, []float64{95, 90, 93, 89}, 10, learn.Default, "may be worse"},
		"one episode much worse": {percent, []float64{90, 90, 90, 90, 90, 90}, []float64{95, 95, 95, 95, 95, 89}, 0.5, learn.Default, "worse than the tolerated"},
		"the same":               {percent, []float64{90, 91, 92}, []float64{90, 91, 92}, 0.5, learn.Default, "change nothing"},
		"too few":                {percent, []float64{90, 90}, []float64{95, 95.1}, 0.5, learn.Default, "too little"},
	} {
		got, why := learn.Judge(c.m, learn.Compare(c.m, c.base, c.other), c.tolerance)
		if got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s (%s), want %s (…%s…)", name, got, why, c.want, c.why)
		}
	}
}

func TestTheIntervalIsStudents(t *testing.T) {
	// Gains 1, 2, 3, 4, 5: mean 3, deviation √2.5, of five; t is 2.776.
	c := learn.Compare(percent, []float64{0, 0, 0, 0, 0}, []float64{1, 2, 3, 4, 5})
	half := 2.776 * math.Sqrt(2.5/5)
	if math.Abs(c.Gain-3) > 1e-9 || math.Abs(c.Low-(3-half)) > 1e-6 || math.Abs(c.High-(3+half)) > 1e-6 || c.Worst != 1 {
		t.Errorf("%+v, want 3 ± %v", c, half)
	}
	many, gains := make([]float64, 61), make([]float64, 61) // 60 degrees of freedom: t is 2.000
	for i := range gains {
		gains[i] = float64(i % 2)
	}
	c = learn.Compare(percent, many, gains)
	deviation := math.Sqrt(61.0 / 60 * (30.0 / 61 * 31 / 61))
	if got := (c.High - c.Gain) * math.Sqrt(61) / deviation; math.Abs(got-2.0003) > 0.002 {
		t.Errorf("t of 60 degrees of freedom is %v", got)
	}
}

func TestKnobsTurnWhatTheyName(t *testing.T) {
	knobs, err := learn.Named("places", "times", "margin")
	if err != nil {
		t.Fatal(err)
	}
	if len(knobs) != len(learn.Knobs()) {
		t.Fatalf("%d knobs of %d", len(knobs), len(learn.Knobs()))
	}
	base := learn.Of(sched.WithForesight(), knobs)
	for _, k := range knobs {
		n := learn.Numbers{}
		for name, v := range base {
			n[name] = v
		}
		n[k.Name] = k.Low
		p := n.In(sched.WithForesight())
		if err := p.Validate(); err != nil {
			t.Errorf("%s at %v: %v", k.Name, k.Low, err)
		}
		if got := learn.Of(p, knobs); !reflect.DeepEqual(got, n) {
			t.Errorf("%s: the policy has %v, set was %v", k.Name, got, n)
		}
	}
	if p := (learn.Numbers{}).In(sched.Policy{}); p != (sched.Policy{}) {
		t.Errorf("no numbers changed the policy: %+v", p)
	}
	if _, err := learn.Named("colour"); err == nil || !strings.Contains(err.Error(), "fragmentation") {
		t.Errorf("an unknown knob: %v", err)
	}
}

func golden(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "rule.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestARuleIsReadAsItWasWritten(t *testing.T) {
	r, err := learn.Parse(golden(t))
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(golden(t)) {
		t.Errorf("written again:\n%s", text)
	}
	p := r.In(sched.Policy{Backfill: sched.EASY})
	if p.Learned != r.Name || p.Weights.Congestion != r.Learned["congestion"] || p.Weights.Power != 5 || p.Backfill != sched.EASY || p.Preempt.Margin != 0 {
		t.Errorf("under the rule: %+v", p)
	}
	r.Verdict = learn.Default
	if p := r.In(sched.Policy{}); p != (sched.Policy{}) {
		t.Errorf("a rule that is not used changes the policy: %+v", p)
	}
}

func TestRulesThatAreNotInOrderAreRefused(t *testing.T) {
	good := string(golden(t))
	for _, c := range []struct{ old, new, says string }{
		{"lineshaft-rule: 1", "lineshaft-rule: 2\nfuture: yes", "version 2"},
		{"lineshaft-rule: 1", "lineshaft-rule: 0", "no rule"},
		{"lineshaft-rule: 1\n", "", "no rule"},
		{"name: testrule", "name: Test Rule", "no name for a rule"},
		{"name: testrule", "nam: testrule", "did you mean"},
		{"verdict: learned", "verdict: default", "own validation says"},
		{"verdict: learned", "verdict: maybe", "no verdict"},
		{"  congestion: 60", "  congestion: -60", "congestion"},
		{"  congestion: 60", "  congestion: many", "number"},
		{"  congestion: 60", "  colour: 60", "colour"},
		{"  - hill/8", "  - hill/1", "in two parts"},
		{"  - hill/8\n", "", "figures"},
		{"tolerance: 0.5", "tolerance: -1", "tolerance"},
	} {
		if !strings.Contains(good, c.old) {
			t.Fatalf("the good rule has no %q", c.old)
		}
		_, err := learn.Parse([]byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q for %q: %v, want …%s…", c.new, c.old, err, c.says)
		}
	}
	// A figure that was made nicer by hand.
	r, err := learn.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	r.Validation.Result.Low += 1
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "the figures give") {
		t.Errorf("figures that are not borne out: %v", err)
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add(golden(f))
	f.Add([]byte("lineshaft-rule: 1\n"))
	f.Add([]byte(`{"lineshaft-rule": 1, "default": {"power": 1e999}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := learn.Parse(text)
		if err != nil {
			return
		}
		if err := r.In(sched.Policy{}).Validate(); err != nil {
			t.Fatalf("a rule that is in order gives a policy that is not: %v", err)
		}
		again, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := learn.Parse(again); err != nil {
			t.Fatalf("written again it cannot be read: %v\n%s", err, again)
		}
	})
}
