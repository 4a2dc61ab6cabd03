package scale

import (
	"math"
	"time"
)

// way is one way to scale: how long a burst must last, how much room there is above the load, how long a wish is kept.
// It runs on what was seen, with a queue and replicas of its own that exist in numbers only.
type way struct {
	burst time.Duration // the window that may ask for more than the stable one
	beta  float64       // room, in square roots of the load
	hold  time.Duration // for which the largest wish counts

	replicas int       // wanted
	ready    int       // answer
	starting []started // oldest first
	queue    float64   // work that waits, in seconds of one slot
	cost     float64   // replica-seconds, old ones fading
	loads    highs     // what the load asked for, for hold
	drains   highs     // what a backlog asked for, until a replica that was started for it has worked it off
}

type started struct {
	at time.Time
	n  int
}

// highs keep the largest wish of a time.
type highs struct {
	over time.Duration
	all  []high // falling
}

type high struct {
	at time.Time
	n  int
}

func (h *highs) add(now time.Time, n int) {
	for len(h.all) > 0 && h.all[len(h.all)-1].n <= n {
		h.all = h.all[:len(h.all)-1]
	}
	h.all = append(h.all, high{now, n})
}

func (h *highs) max(now time.Time) int {
	for len(h.all) > 0 && now.Sub(h.all[0].at) >= h.over {
		h.all = h.all[1:]
	}
	if len(h.all) == 0 {
		return 0
	}
	return h.all[0].n
}

// candidates are the ways that are tried.
func candidates(o Options) (all []*way) {
	betas := []float64{0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4}
	bursts := []time.Duration{o.Panic}
	if w := min(max(o.Start, o.Panic), o.Stable); w >= 2*o.Panic {
		bursts = append(bursts, w)
	}
	for _, burst := range bursts {
		for _, hold := range []time.Duration{30 * time.Second, 60 * time.Second, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute} {
			for _, beta := range betas {
				all = append(all, &way{burst: burst, beta: beta, hold: hold, loads: highs{over: hold}, drains: highs{over: o.Start + o.Drain}})
			}
		}
	}
	return all
}

func (w *way) begin(o Observation) { w.replicas, w.ready = o.Replicas, o.Ready }

// staff is how many replicas carry a load.
func (w *way) staff(o Options, load float64) int {
	if load <= 0 {
		return 0
	}
	return ceil((load + w.beta*math.Sqrt(load)) / o.Capacity)
}

// live lets the time since the last observation pass on the way's own replicas, and lets it decide.
func (w *way) live(o Options, t *traffic, real Observation, span float64) {
	for len(w.starting) > 0 && !w.starting[0].at.After(real.Now) {
		w.ready += w.starting[0].n
		w.starting = w.starting[1:]
	}
	w.ready = min(w.ready, w.replicas)
	work, carry := float64(real.Arrivals)*t.service, float64(w.ready)*o.Capacity
	w.queue = max(0, w.queue+work-carry*span)
	fade := math.Exp2(-span / o.Memory.Seconds())
	w.cost = w.cost*fade + float64(w.replicas)*span
	w.cost += o.Price * work / o.Capacity * w.late(o, t.load(real.Now, o.Stable).load, carry, t.service)
	own := Observation{Now: real.Now, Ready: w.ready, Replicas: w.replicas}
	if t.service > 0 {
		own.Waiting = w.queue / t.service
	}
	w.loads.add(real.Now, w.keep(o, t, real.Now))
	w.drains.add(real.Now, w.drain(o, t, own, t.load(real.Now, w.burst).load))
	n := max(w.loads.max(real.Now), w.drains.max(real.Now), int(float64(w.ready)/o.MaxDown))
	n = max(min(n, o.Max), o.Min)
	if n > w.replicas {
		w.starting = append(w.starting, started{real.Now.Add(o.Start), n - w.replicas})
	}
	for less := w.replicas - w.ready - max(0, n-w.ready); less > 0 && len(w.starting) > 0; { // those that start go first
		last := &w.starting[len(w.starting)-1]
		k := min(less, last.n)
		last.n -= k
		if less -= k; last.n == 0 {
			w.starting = w.starting[:len(w.starting)-1]
		}
	}
	w.replicas, w.ready = n, min(w.ready, n)
}

// keep is what the load asks for, which is held. What a backlog asks for is not: it is worked off once.
func (w *way) keep(o Options, t *traffic, now time.Time) int {
	return w.staff(o, max(t.load(now, o.Stable).load, t.load(now, w.burst).load))
}

// drain is how many replicas carry the load and work off what waits within Drain, when those that are not there yet come
// after Start.
func (w *way) drain(o Options, t *traffic, at Observation, load float64) int {
	if at.Waiting <= 0 {
		return 0
	}
	if t.service == 0 || at.Ready == 0 && at.Replicas == 0 {
		return max(1, ceil(at.Waiting*t.service/(o.Capacity*o.Drain.Seconds())))
	}
	backlog := at.Waiting * t.service // seconds of work for one slot
	// Those that start now come, on average, half a start before one that is wanted now.
	growth := (load - float64(at.Ready+max(at.Ready, at.Replicas))/2*o.Capacity) * o.Start.Seconds()
	if backlog <= o.Drain.Seconds()*o.Capacity*float64(at.Ready) && growth <= 0 {
		return 0 // those that are ready have it done before another would come
	}
	return ceil((load + max(0, backlog+growth)/o.Drain.Seconds()) / o.Capacity)
}

// late is the part of the requests that come now and begin later than the SLO: all behind a queue that is longer, else
// those that chance makes wait, by Halfin and Whitt's approximation of many servers.
func (w *way) late(o Options, load, slots, service float64) float64 {
	if slots <= load || w.queue > slots*o.SLO.Seconds() {
		if w.queue > slots*o.SLO.Seconds() || slots == 0 {
			return 1
		}
		return math.Exp(-1)
	}
	if load <= 0 || service <= 0 {
		return 0
	}
	b := (slots - load) / math.Sqrt(load)
	density := math.Exp(-b*b/2) / math.Sqrt(2*math.Pi)
	waits := 1 / (1 + b*0.5*math.Erfc(-b/math.Sqrt2)/density)
	return waits * math.Exp(-(slots-load)*o.SLO.Seconds()/service)
}
