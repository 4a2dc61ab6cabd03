package scale

import "time"

// knative is the rule of Knative's pod autoscaler, after its documentation ("Knative Serving: About autoscaling",
// "Configuring the kpa").
type knative struct {
	o     Options
	panic time.Time // a burst was last seen; zero: none lasts
	most  int       // wished for since it began
}

func (k *knative) staff(load float64) int { return ceil(load / k.o.Target) }

func (k *knative) wish(t *traffic, o Observation, _ float64) Decision {
	stable, burst := t.load(o.Now, k.o.Stable), t.load(o.Now, k.o.Panic)
	d := Decision{Load: stable.concurrency, Rate: stable.rate, Replicas: k.staff(stable.concurrency)}
	d.say("%.3g requests at once in the last %v, %g a replica: %s", stable.concurrency, k.o.Stable, k.o.Target, replicas(d.Replicas))
	fast := k.staff(burst.concurrency)
	low := int(float64(max(1, o.Ready)) / k.o.MaxDown)
	d.Replicas = max(d.Replicas, low)
	switch {
	case float64(fast) >= k.o.PanicThreshold*float64(max(1, o.Ready)):
		k.panic = o.Now
	case !k.panic.IsZero() && o.Now.Sub(k.panic) > k.o.Stable:
		k.panic, k.most = time.Time{}, 0
	}
	if k.panic.IsZero() {
		return d
	}
	d.Panic = true
	if fast > d.Replicas {
		d.Replicas = fast
		d.say("%.3g at once in the last %v: %s", burst.concurrency, k.o.Panic, replicas(fast))
	}
	if k.most > d.Replicas {
		d.Replicas = k.most
		d.say("%.3g times what was ready was wanted within the last %v: nothing goes before that is over", k.o.PanicThreshold, k.o.Stable)
	}
	k.most = d.Replicas
	return d
}
