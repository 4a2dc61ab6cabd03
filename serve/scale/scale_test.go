package scale_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/scale"
)

// service is one that has as many replicas as the policy wanted a start ago; what they cannot work on waits.
type service struct {
	p        *scale.Policy
	now      time.Time
	start    time.Duration
	takes    float64 // seconds that a request takes
	capacity float64
	waiting  float64
	wanted   []int // by second
	forecast *scale.Forecast
}

func newService(o scale.Options, takes float64) *service {
	p := scale.New(o)
	return &service{p: p, now: time.Unix(1_700_000_000, 0), start: p.Options().Start, takes: takes, capacity: p.Options().Capacity, wanted: []int{1}}
}

func (s *service) at(i int) int { return s.wanted[max(0, i)] }

// second lets one pass in which requests come.
func (s *service) second(arrivals int) scale.Decision {
	s.now = s.now.Add(time.Second)
	ready := s.at(len(s.wanted) - 1)
	for back := range int(s.start / time.Second) {
		ready = min(ready, s.at(len(s.wanted)-1-back))
	}
	can := float64(ready) * s.capacity / s.takes
	done := min(can, s.waiting+float64(arrivals))
	s.waiting += float64(arrivals) - done
	d := s.p.Step(scale.Observation{
		Now: s.now, Arrivals: arrivals, Done: int(done), Busy: done * s.takes, Waiting: float64(int(s.waiting)), Ready: ready, Replicas: s.at(len(s.wanted) - 1),
	}, s.forecast)
	s.wanted = append(s.wanted, d.Replicas)
	return d
}

func (s *service) seconds(n, arrivals int) (d scale.Decision) {
	for range n {
		d = s.second(arrivals)
	}
	return d
}

func both(t *testing.T, o scale.Options, f func(*testing.T, scale.Options)) {
	t.Helper()
	t.Run("learned", func(t *testing.T) { f(t, o) })
	o.Target = 0.7 * o.Defaults().Capacity
	t.Run("knative", func(t *testing.T) { f(t, o) })
}

func TestASteadyLoadIsCarriedWithRoomAndNoMore(t *testing.T) {
	both(t, scale.Options{Min: 1, Max: 50, Capacity: 2, Start: 10 * time.Second}, func(t *testing.T, o scale.Options) {
		s := newService(o, 0.5)
		d := s.seconds(1200, 20) // 10 at once: 5 replicas at the least
		if d.Replicas < 6 || d.Replicas > 10 || s.waiting > 0 {
			t.Fatalf("10 requests at once, two a replica: %d replicas, %v wait: %v", d.Replicas, s.waiting, d.Reasons)
		}
	})
}

func TestMoreLoadGetsMoreReplicasWithinTheStart(t *testing.T) {
	both(t, scale.Options{Min: 1, Max: 50, Capacity: 2, Start: 10 * time.Second}, func(t *testing.T, o scale.Options) {
		s := newService(o, 0.5)
		before := s.seconds(300, 4).Replicas
		d := s.seconds(12, 40)
		if d.Replicas < 10 || d.Replicas <= before {
			t.Fatalf("ten times the load for 12 s: from %d to %d replicas: %v", before, d.Replicas, d.Reasons)
		}
		if s.seconds(120, 40); s.waiting > 0 {
			t.Fatalf("two minutes later %v requests still wait", s.waiting)
		}
	})
}

func TestTheLastReplicaGoesAfterAGraceAndComesBackForARequest(t *testing.T) {
	both(t, scale.Options{Min: 0, Max: 5, Capacity: 4, Grace: 40 * time.Second, Start: 5 * time.Second}, func(t *testing.T, o scale.Options) {
		s := newService(o, 0.1)
		s.seconds(60, 2)
		if d := s.seconds(38, 0); d.Replicas < 1 {
			t.Fatalf("within the grace: %d replicas: %v", d.Replicas, d.Reasons)
		}
		if d := s.seconds(3600, 0); d.Replicas != 0 {
			t.Fatalf("an hour without requests: %d replicas: %v", d.Replicas, d.Reasons)
		}
		if d := s.second(1); d.Replicas < 1 {
			t.Fatalf("a request waits: %d replicas: %v", d.Replicas, d.Reasons)
		}
	})
}

func TestLimitsHoldWhateverComes(t *testing.T) {
	both(t, scale.Options{Min: 2, Max: 7, Capacity: 1}, func(t *testing.T, o scale.Options) {
		s, rng := newService(o, 1), rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			d := s.second(int(rng.ExpFloat64() * 20 * rng.Float64()))
			if d.Replicas < 2 || d.Replicas > 7 || len(d.Reasons) == 0 {
				t.Fatalf("min 2, max 7: %d replicas, reasons %v", d.Replicas, d.Reasons)
			}
		}
	})
}

func TestTheSameObservationsGiveTheSameDecisions(t *testing.T) {
	both(t, scale.Options{Max: 20}, func(t *testing.T, o scale.Options) {
		a, b, rng := newService(o, 0.7), newService(o, 0.7), rand.New(rand.NewPCG(3, 4))
		for range 500 {
			n := rng.IntN(12)
			if x, y := a.second(n), b.second(n); !reflect.DeepEqual(x, y) {
				t.Fatalf("%+v and %+v", x, y)
			}
		}
	})
}

func TestAForecastRaisesTheWishAndNeverLowersIt(t *testing.T) {
	both(t, scale.Options{Min: 1, Max: 50, Capacity: 2, Start: 10 * time.Second}, func(t *testing.T, o scale.Options) {
		s := newService(o, 0.5)
		without := s.seconds(300, 8).Replicas
		s.forecast = &scale.Forecast{Step: 10 * time.Second, RPS: []float64{8, 60, 500}, From: "the test"}
		d := s.second(8)
		if d.Replicas < 15 || d.Replicas > 40 || !strings.Contains(strings.Join(d.Reasons, "\n"), "the test expects up to 60 requests/s") {
			t.Fatalf("60 requests/s expected in 10 s: from %d to %d replicas: %v", without, d.Replicas, d.Reasons)
		}
		s.forecast = &scale.Forecast{Step: 5 * time.Second, RPS: []float64{0, 0, 0}}
		if d := s.second(8); d.Replicas < without {
			t.Fatalf("a forecast of nothing lowers %d to %d", without, d.Replicas)
		}
	})
}

func TestInPanicNothingGoesDown(t *testing.T) {
	s := newService(scale.Options{Min: 1, Max: 100, Capacity: 1, Target: 0.7}, 1)
	s.seconds(120, 1)
	s.seconds(6, 30)
	top := 0
	for range 50 {
		d := s.second(0)
		if !d.Panic || d.Replicas < top {
			t.Fatalf("within a minute of a burst: panic %v, from %d to %d replicas: %v", d.Panic, top, d.Replicas, d.Reasons)
		}
		top = d.Replicas
	}
	if d := s.seconds(180, 0); d.Panic || d.Replicas >= top {
		t.Fatalf("minutes later: panic %v, %d replicas of %d: %v", d.Panic, d.Replicas, top, d.Reasons)
	}
}

func TestWhatComesInBurstsIsKeptForTheNext(t *testing.T) {
	s := newService(scale.Options{Min: 1, Max: 50, Capacity: 1, Start: 20 * time.Second}, 1)
	late := func(rounds int) (n float64) {
		for range rounds {
			for range 30 {
				s.second(10)
				n += s.waiting
			}
			s.seconds(90, 0)
		}
		return n
	}
	if first, last := late(3), late(20)-late(17); last > first/2 {
		t.Fatalf("bursts of 30 s every two minutes: in the first three %.0f request-seconds of waiting, after an hour %.0f in three", first, last)
	}
}

func TestOptionsThatMakeNoSenseAreRefusedInWords(t *testing.T) {
	for name, o := range map[string]scale.Options{
		"min above max":  {Min: 5, Max: 2},
		"capacity":       {Capacity: -1},
		"target":         {Target: -1},
		"windows":        {Stable: time.Second, Panic: time.Minute},
		"long window":    {Stable: 2 * time.Hour},
		"step":           {MaxDown: 0.5},
		"negative start": {Start: -1},
	} {
		if err := o.Defaults().Validate(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "give") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (scale.Options{}).Defaults().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
