package sched

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// stream is the work of one queue, user and shape in the order in which it came. Of a job the nearest neighbours that have
// ended or run, on both sides, are evidence: a neighbour took about as long as the job will, with a probability and within a
// spread that depend on how far apart in time they came; otherwise it is as its kind. Both are learned from pairs of
// neighbours of which both have ended. The n-th job before or after counts for 1/n of the next, since neighbours are alike
// among each other too and no independent news.
type stream struct {
	of    *levels // its kinds
	next  int
	last  time.Time // when the newest came
	sweep *sweep    // of the newest
	alive []*known  // by place
	spoke []*known  // those that have ended or run, by place
	alike likeness
	odds  [gaps]odds
	news  int // what the predictor knew of likeness when odds were made
	made  int // how often they were
}

// known is a job of a stream.
type known struct {
	id     string
	stream *stream
	sweep  *sweep
	place  int // in the order of submission
	since  time.Time
	ran    time.Duration
	ended  int // one more than the bucket of its duration; 0 while it has not ended
	rare   int // how rare that is for its kind, or to last so long: see rarity
	first  Forecast
	of     *levels

	stirred bool // a neighbour has changed since says was found out
	says    evidence
	made    int      // of the odds that says is from
	last    Forecast // of the kinds' version at and so much news, for told of running, as one of asked
	at      int
	news    int
	told    time.Duration
	asked   *levels
}

// sweep is work that was submitted together.
type sweep struct {
	First int `json:"first"` // the place of its first job
	Ended int `json:"ended"`
}

// evidence is what a job's neighbours say.
type evidence struct {
	runs  int       // neighbours that say something
	odds  histogram // how likely each duration makes it
	words string
}

const (
	neighbours = 16   // on each side
	least      = 0.02 // of weight: what counts for less is left out
	pairsWorth = 10.0 // pairs that what is known of all streams, and what is assumed, are worth
	nearest    = 1.4  // what the next in the order of submission counts for; the n-th for 1/n of that
	smooth     = 0.85 // of what neighbours say; the rest of a job's forecast is its kind's
	gaps       = 8
)

// likeness is how alike neighbours were, by how far apart they came.
type likeness [gaps]struct {
	Pairs float64 `json:"pairs"`
	Alike float64 `json:"alike"` // how many of these, as probabilities
	Apart float64 `json:"apart"` // squared distance of those, in buckets
}

// gapOf is the class of a gap.
func gapOf(d time.Duration) int {
	for i, most := range [gaps - 1]time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 168 * time.Hour} {
		if d < most {
			return i
		}
	}
	return gaps - 1
}

// assumed is the likeness before anything is known: probability and spread in buckets.
func assumed(gap int) (alike, spread float64) {
	return [gaps]float64{0.9, 0.85, 0.7, 0.55, 0.45, 0.35, 0.25, 0.1}[gap], [gaps]float64{1, 1.2, 1.5, 2, 2, 2, 2, 2}[gap]
}

// learned is the likeness of the stream's neighbours: it leans on that of all streams, which leans on what is assumed.
func (s *stream) learned(all *likeness, gap int) (alike, spread float64) {
	alike, spread = assumed(gap)
	square := spread * spread
	for _, l := range []*likeness{all, &s.alike} {
		x := &l[gap]
		square = (pairsWorth*square + x.Apart) / (pairsWorth + x.Alike)
		alike = (pairsWorth*alike + x.Alike) / (pairsWorth + x.Pairs)
	}
	return alike, math.Sqrt(square)
}

// odds are how likely a neighbour's bucket is, by how many buckets that lies beyond the job's, plus buckets.
type odds struct {
	step, spread int // for which the tables are
	alike        float64
	ended, lasts [rarest + 1]*[2 * buckets]float64 // logarithms, as that of its end and as one that it has reached, by how rare; nil until asked for
}

// rarest is how many steps of rarity are told apart.
const rarest = 24

// rarity is how rare something of this probability is: two steps are half as probable.
func rarity(probability float64) int {
	return min(max(int(0.5-2*math.Log2(probability+1e-9)), 0), rarest)
}

// table is what a neighbour says.
func (o *odds) table(k *known) *[2 * buckets]float64 {
	list := &o.lasts
	if k.ended > 0 {
		list = &o.ended
	}
	if list[k.rare] == nil {
		t, spread := new([2 * buckets]float64), float64(o.spread)/spreadSteps
		other := (1 - o.alike) * math.Exp2(-float64(k.rare)/2)
		for i := range t {
			x := float64(i-buckets) / spread
			if k.ended > 0 {
				t[i] = math.Log(o.alike*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)/spread + other + 1e-6)
			} else {
				t[i] = math.Log(o.alike*0.5*math.Erfc(x/math.Sqrt2) + other + 1e-6)
			}
		}
		list[k.rare] = t
	}
	return list[k.rare]
}

// The steps of what is learned for which there are tables: parts of a probability, and of a bucket.
const alikeSteps, spreadSteps = 50, 10

// learn makes the tables of odds anew as far as what is known has changed by a step.
func (s *stream) learn(p *Predictor) {
	if s.made > 0 && s.news == p.news {
		return
	}
	s.news = p.news
	for gap := range s.odds {
		alike, spread := s.learned(&p.alike, gap)
		a, b := min(int(alike*alikeSteps+0.5), alikeSteps-1), max(int(spread*spreadSteps+0.5), 2)
		o := &s.odds[gap]
		if o.spread == b && o.step == a {
			continue
		}
		s.made++
		*o = odds{step: a, spread: b, alike: float64(a) / alikeSteps}
	}
}

func byPlace(k *known, place int) int { return cmp.Compare(k.place, place) }

// add takes in a job that has come.
func (s *stream) add(id string, since time.Time) *known {
	if s.sweep == nil || since.Sub(s.last) > sweepGap {
		s.sweep = &sweep{First: s.next}
	}
	s.last = since
	k := &known{id: id, stream: s, sweep: s.sweep, place: s.next, since: since, stirred: true}
	s.next++
	s.alive = append(s.alive, k)
	return k
}

// ran takes in how long the job has run.
func (s *stream) ran(k *known, ran time.Duration, p *Predictor) {
	before := k.ran
	k.ran = ran
	if ran <= 0 || before > 0 && bucketOf(before) == bucketOf(ran) {
		return
	}
	var longer float64
	for _, w := range p.mixed(s.of)[bucketOf(ran):] {
		longer += w
	}
	k.rare = rarity(longer)
	if before <= 0 {
		s.speaks(k)
	} else {
		s.stir(k)
	}
}

// speaks puts the job among those that say something.
func (s *stream) speaks(k *known) {
	if i, ok := slices.BinarySearchFunc(s.spoke, k.place, byPlace); !ok {
		s.spoke = slices.Insert(s.spoke, i, k)
	}
	s.stir(k)
}

// stir tells all for which the job is one of the nearest that it has changed.
func (s *stream) stir(k *known) {
	i, ok := slices.BinarySearchFunc(s.spoke, k.place, byPlace)
	from, to := 0, math.MaxInt
	if i >= neighbours {
		from = s.spoke[i-neighbours].place
	}
	if ok {
		i++
	}
	if i+neighbours-1 < len(s.spoke) {
		to = s.spoke[i+neighbours-1].place
	}
	at, _ := slices.BinarySearchFunc(s.alive, from, byPlace)
	for ; at < len(s.alive) && s.alive[at].place <= to; at++ {
		s.alive[at].stirred = true
	}
}

// gone forgets the job.
func (s *stream) gone(k *known) {
	s.leave(k)
	if i, ok := slices.BinarySearchFunc(s.spoke, k.place, byPlace); ok {
		s.stir(k)
		s.spoke = slices.Delete(s.spoke, i, i+1)
	}
	s.prune()
}

// end takes in the bucket in which the job ended.
func (s *stream) end(k *known, at int, p *Predictor) {
	s.leave(k)
	k.ended, k.says, k.of, k.asked = at+1, evidence{}, nil, nil
	s.speaks(k)
	i, _ := slices.BinarySearchFunc(s.spoke, k.place, byPlace)
	for _, j := range []int{i - 1, i + 1} {
		if j >= 0 && j < len(s.spoke) {
			s.pair(k, s.spoke[j], p)
		}
	}
	s.prune()
}

func (s *stream) leave(k *known) {
	if i, ok := slices.BinarySearchFunc(s.alive, k.place, byPlace); ok {
		s.alive = slices.Delete(s.alive, i, i+1)
	}
}

// pair learns from two that came one right after the other and have both ended.
func (s *stream) pair(k, o *known, p *Predictor) {
	if o.ended == 0 || o.place != k.place-1 && o.place != k.place+1 {
		return
	}
	gap := gapOf(k.since.Sub(o.since).Abs())
	alike, spread := s.learned(&p.alike, gap)
	apart := float64(k.ended - o.ended)
	near := alike * math.Exp(-apart*apart/spread/spread/2) / math.Sqrt(2*math.Pi) / spread
	near /= near + (1-alike)*p.mixed(s.of)[k.ended-1] + 1e-9
	p.news++
	for _, l := range []*likeness{&p.alike, &s.alike} {
		x := &l[gap]
		x.Pairs++
		x.Alike += near
		x.Apart += near * apart * apart
	}
}

// prune drops those that no living or coming job has among its nearest.
func (s *stream) prune() {
	first := s.next
	if len(s.alive) > 0 {
		first = s.alive[0].place
	}
	i, _ := slices.BinarySearchFunc(s.spoke, first, byPlace)
	if drop := i - neighbours; drop > neighbours {
		s.spoke = slices.Delete(s.spoke, 0, drop)
	}
}

// evidence is what the job's neighbours say, found out again when one has changed.
func (s *stream) evidence(k *known, p *Predictor) *evidence {
	s.learn(p)
	if !k.stirred && k.made == s.made {
		return &k.says
	}
	k.stirred, k.made = false, s.made
	e := &k.says
	*e = evidence{}
	var sum histogram
	i, ok := slices.BinarySearchFunc(s.spoke, k.place, byPlace)
	ended, near := 0, 0
	hear := func(j int) {
		o := s.spoke[j]
		gap := k.since.Sub(o.since).Abs()
		t, w := &s.odds[gapOf(gap)], nearest/float64(max(o.place-k.place, k.place-o.place))
		if w*t.alike < least {
			return
		}
		e.runs++
		at := o.ended - 1
		if o.ended == 0 {
			at = bucketOf(o.ran)
		} else if ended++; gap < sweepGap {
			near++
		}
		list := t.table(o)
		for d := range sum {
			sum[d] += w * list[at-d+buckets]
		}
	}
	for rank := 1; rank <= neighbours && i-rank >= 0; rank++ {
		hear(i - rank)
	}
	if ok {
		i++
	}
	for rank := 1; rank <= neighbours && i+rank-1 < len(s.spoke); rank++ {
		hear(i + rank - 1)
	}
	if e.runs == 0 {
		return e
	}
	top := slices.Max(sum[:])
	for d := range sum {
		e.odds[d] = math.Exp(sum[d] - top)
	}
	switch {
	case near > 0:
		e.words = fmt.Sprintf("%d submitted with it that ended", near)
	case ended > 0:
		e.words = fmt.Sprintf("the %d before and after it that ended", ended)
	}
	return e
}

// given is the kind's histogram in the light of what the neighbours say.
func (s *scale) given(own, odds *histogram) *histogram {
	var post histogram
	var sum float64
	for d := range post {
		post[d] = own[d] * odds[d]
		sum += post[d]
	}
	h := new(histogram)
	for d := range post {
		w := smooth * post[d] / sum
		if w < 1e-6 {
			continue
		}
		h[d] += w * s.blur[0]
		for i := 1; i <= reach; i++ {
			h[max(d-i, 0)] += w * s.blur[i]
			h[min(d+i, buckets-1)] += w * s.blur[i]
		}
	}
	for d := range h {
		h[d] += (1 - smooth) * own[d]
	}
	return h
}
