package sched

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Predictor learns online how long gangs run, from those that have ended. It keeps a histogram of durations, on a
// logarithmic scale, for every kind of work: by queue, user, name and shape; without the name; without the user; of the
// queue; of all. A kind of which little is known leans on the next wider one. Older runs fade.
//
// Work that was submitted together is alike: of jobs within a minute of each other, with the same queue, user and
// shape, the first to end tells about the rest, and so does how long they have all been running. Such a batch has one
// unknown duration, from the kind's histogram; its jobs run that long within about a quarter, save one in seven that
// goes its own way. What has ended and what still runs makes the batch's duration more or less likely (Bayes), and a
// job's forecast is the mixture.
//
// A Predictor is data and may be written as JSON. It reads no clock. It is not for several goroutines.
type Predictor struct {
	kinds   map[string]*kind
	lines   map[lineage]*levels
	batches map[string]*batch // the newest of each kind
	jobs    map[string]*known // submitted and not ended
	errors  Errors
	version int // of the kinds
	scale   scale
	recent  map[asked]Forecast // of this version
}

// asked is what a forecast depends on.
type asked struct {
	of  *histogram
	ran time.Duration
}

// scale is the buckets in seconds, and how the jobs of a batch scatter over them.
type scale struct {
	edge    [buckets + 1]float64 // where a bucket begins
	middle  [buckets]float64
	near    [reach + 1]float64     // probability of a bucket by its distance from the batch's
	outlast [2*buckets + 1]float64 // of a job to outlast a bucket, by that bucket less the batch's, plus buckets
}

func newScale() (s scale) {
	for i := range s.edge {
		s.edge[i] = edge(i)
	}
	for i := range s.middle {
		s.middle[i] = middle(i)
	}
	for i := range s.near {
		s.near[i] = near(i)
	}
	for i := range s.outlast {
		s.outlast[i] = 0.5 * math.Erfc(float64(i-buckets)/math.Sqrt2)
	}
	return s
}

// Errors is how far forecasts at submission were from what came.
type Errors struct {
	Runs   int     `json:"runs"`   // that ended with a forecast
	Factor float64 `json:"factor"` // typical factor between forecast and duration, 1 is exact: e to the mean of |ln|
	Twice  float64 `json:"twice"`  // part of the runs that the median was within a factor of two of
	Inside float64 `json:"inside"` // part that ended between the forecast's low and high; 0.8 is right
}

const (
	buckets   = 80
	bucketMin = 10.0 // seconds: the first bucket's end
	growth    = 1.25 // of one bucket over the one before
	halfRuns  = 50.0 // after so many newer runs one counts half
	lean      = 3.0  // runs that the wider kind is worth
	batchGap  = time.Minute
	likely    = 0.85 // that a job of a batch runs as long as the batch
	reach     = 6    // buckets around the batch's duration that count

	recentMost = 1 << 14 // forecasts that are kept
)

type histogram [buckets]float64

// kind is what ended of one kind of work.
type kind struct{ Runs histogram }

// batch is work that was submitted together.
type batch struct {
	key   string
	last  time.Time
	jobs  map[string]*known
	alive [buckets]uint16 // those that have run, by how long
	ended int
	like  histogram // log likelihood of the batch's duration, from what ended
	words string    // what a forecast rests on once some have ended
	cache map[string]*histogram
	at    int                     // version of the kinds that the cache is from
	given [buckets + 1]*histogram // of the cache, for one that has run so long and, last, for one that has not
	fresh *histogram              // the kind's histogram that all of given rest on; nil when none holds
}

type known struct {
	id    string
	batch *batch
	ran   time.Duration
	first Forecast
	of    *levels
}

// Forecast is how long a gang that has run for some time will go on.
type Forecast struct {
	Median time.Duration `json:"median"` // of what is left
	Low    time.Duration `json:"low"`    // one in ten ends sooner
	High   time.Duration `json:"high"`   // one in ten ends later
	Mean   time.Duration `json:"mean"`
	Index  float64       `json:"index"` // least expected seconds of work for one to end: see gittins
	From   string        `json:"from"`  // what it rests on, in words; "" when nothing is known
}

// NewPredictor knows nothing.
func NewPredictor() *Predictor {
	return &Predictor{kinds: map[string]*kind{}, lines: map[lineage]*levels{}, batches: map[string]*batch{}, jobs: map[string]*known{}, scale: newScale(), recent: map[asked]Forecast{}}
}

// level is one kind that a gang belongs to.
type level struct{ key, words string }

// lineage is what of a gang says to which kinds it belongs.
type lineage struct {
	queue, user, name   string
	tasks, accelerators int
	cpu                 float64 // without accelerators
}

// levels are the kinds of a gang, the narrowest first.
type levels struct {
	lineage
	list    []level
	mixed   histogram // of all of them, summing to 1
	from    string    // what it rests on, in words
	version int       // of the kinds that mixed is from
}

// levels are the kinds of the gang, which may be known.
func (p *Predictor) levels(g *Gang, k *known) *levels {
	l := lineage{queue: g.Queue, user: g.User, name: g.Name, tasks: len(g.Tasks), accelerators: g.Each.Accelerators}
	if l.accelerators == 0 {
		l.cpu = math.Ceil(g.Each.CPU)
	}
	if k != nil && k.of != nil && k.of.lineage == l {
		return k.of
	}
	out := p.lines[l]
	if out == nil {
		if len(p.lines) > recentMost {
			clear(p.lines)
		}
		out = &levels{lineage: l, list: l.levels(), version: -1}
		p.lines[l] = out
	}
	return out
}

func (l lineage) levels() (out []level) {
	shape := fmt.Sprintf("%d×%d", l.tasks, l.accelerators)
	if l.accelerators == 0 {
		shape = fmt.Sprintf("%d×%gcpu", l.tasks, l.cpu)
	}
	if l.user != "" && l.name != "" {
		out = append(out, level{strings.Join([]string{"name", l.queue, l.user, l.name, shape}, "\x00"), "runs of this name and size by the user"})
	}
	if l.user != "" {
		out = append(out, level{strings.Join([]string{"user", l.queue, l.user, shape}, "\x00"), "runs of this size by the user"})
	}
	return append(out,
		level{strings.Join([]string{"size", l.queue, shape}, "\x00"), "runs of this size in the queue"},
		level{"all", "all runs"})
}

// Submitted tells of a gang that has come. Telling twice does nothing.
func (p *Predictor) Submitted(g Gang) {
	if _, ok := p.jobs[g.ID]; ok {
		return
	}
	of := p.levels(&g, nil)
	l := of.list
	if len(l) > 2 && g.Name != "" && g.User != "" {
		l = l[1:] // the names of a sweep differ
	}
	key := l[0].key
	b := p.batches[key]
	if b == nil || g.Since.Sub(b.last) > batchGap {
		b = &batch{key: key, jobs: map[string]*known{}}
		p.batches[key] = b
	}
	b.last = g.Since
	k := &known{id: g.ID, batch: b, of: of}
	b.jobs[g.ID], p.jobs[g.ID] = k, k
	k.first = p.Forecast(g, 0)
}

// Ran tells how long a gang has run until now.
func (p *Predictor) Ran(id string, ran time.Duration) {
	if k := p.jobs[id]; k != nil {
		if k.ran > 0 && ran > 0 && bucketOf(k.ran) == bucketOf(ran) {
			k.ran = ran
			return
		}
		k.batch.count(k, -1)
		k.ran = ran
		k.batch.count(k, 1)
	}
}

// count keeps how many of the batch have run for how long.
func (b *batch) count(k *known, by int) {
	if k.ran > 0 {
		b.alive[bucketOf(k.ran)] += uint16(by)
		b.fresh = nil
	}
}

// Gone tells of a gang that left without having done its work: canceled, failed. It says nothing of durations.
func (p *Predictor) Gone(id string) {
	if k := p.jobs[id]; k != nil {
		k.batch.count(k, -1)
		delete(k.batch.jobs, id)
		delete(p.jobs, id)
	}
}

// Ended tells of a gang that has done its work in so much time of running.
func (p *Predictor) Ended(g Gang, ran time.Duration) {
	p.Submitted(g)
	k := p.jobs[g.ID]
	p.Gone(g.ID)
	p.judge(k.first, ran)
	at := bucketOf(ran)
	all := p.levels(&g, nil)
	own := p.mixed(all)
	b := k.batch
	b.ended++
	b.words = fmt.Sprintf("%d of its batch that ended", b.ended)
	b.cache, b.fresh = nil, nil
	for d := range b.like {
		b.like[d] += math.Log(likely*near(at-d) + (1-likely)*own[at] + 1e-6)
	}
	// The runs of a batch are no independent news: the n-th counts for 1/n.
	weight := 1 / float64(b.ended)
	fade := math.Exp2(-weight / halfRuns)
	p.version++
	clear(p.recent)
	for _, l := range all.list {
		h := p.kinds[l.key]
		if h == nil {
			h = &kind{}
			p.kinds[l.key] = h
		}
		for i := range h.Runs {
			h.Runs[i] *= fade
		}
		h.Runs[at] += weight
	}
}

// judge compares the forecast at submission with what came.
func (p *Predictor) judge(f Forecast, ran time.Duration) {
	if f.From == "" {
		return
	}
	off := math.Abs(math.Log(max(f.Median.Seconds(), 1) / max(ran.Seconds(), 1)))
	n := float64(p.errors.Runs)
	mean := func(old, one float64) float64 { return (old*n + one) / (n + 1) }
	one := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	p.errors.Factor = math.Exp(mean(math.Log(max(p.errors.Factor, 1)), off))
	p.errors.Twice = mean(p.errors.Twice, one(off <= math.Ln2))
	p.errors.Inside = mean(p.errors.Inside, one(ran >= f.Low && ran <= f.High))
	p.errors.Runs++
}

// Errors is how good the forecasts were so far.
func (p *Predictor) Errors() Errors { return p.errors }

// Forecast says how long the gang goes on, given that it has run for so long.
func (p *Predictor) Forecast(g Gang, ran time.Duration) Forecast {
	k := p.jobs[g.ID]
	all := p.levels(&g, k)
	h := p.mixed(all)
	from := all.from
	if k != nil && (len(k.batch.jobs) > 1 || k.batch.ended > 0) {
		h = p.together(k, h)
		if k.batch.ended > 0 {
			from = k.batch.words
		}
	}
	known, ok := p.recent[asked{h, ran}]
	if !ok {
		age := max(ran.Seconds(), 0)
		known.Index, known.Mean = p.scale.gittins(h, age)
		known.Low, known.Median, known.High = p.scale.quantiles(h, age)
		if len(p.recent) > recentMost {
			clear(p.recent)
		}
		p.recent[asked{h, ran}] = known
	}
	known.From = from
	return known
}

// mixed is the histogram of a gang's narrowest kind with the parts of the wider ones, summing to 1. When nothing is
// known all durations are as likely, on the logarithmic scale.
func (p *Predictor) mixed(all *levels) *histogram {
	if all.version == p.version {
		return &all.mixed
	}
	h := &all.mixed
	for i := range h {
		h[i] = 1.0 / buckets
	}
	all.from = ""
	for i := len(all.list) - 1; i >= 0; i-- {
		k := p.kinds[all.list[i].key]
		if k == nil {
			continue
		}
		all.from = all.list[i].words
		sum := lean
		for _, n := range k.Runs {
			sum += n
		}
		for b := range h {
			h[b] = (k.Runs[b] + lean*h[b]) / sum
		}
	}
	all.version = p.version
	return h
}

// together is the histogram of a job of a batch, given what its siblings have shown.
func (p *Predictor) together(k *known, own *histogram) *histogram {
	b := k.batch
	if b.cache == nil || b.at != p.version {
		b.cache, b.at, b.fresh = map[string]*histogram{}, p.version, nil
	}
	if b.fresh != own {
		b.fresh, b.given = own, [buckets + 1]*histogram{}
	}
	at := buckets
	if k.ran > 0 {
		at = bucketOf(k.ran)
	}
	if b.given[at] == nil {
		b.given[at] = p.among(k, own)
	}
	return b.given[at]
}

// among is together for evidence that may have been seen before.
func (p *Predictor) among(k *known, own *histogram) *histogram {
	b := k.batch
	alive := b.alive
	if k.ran > 0 {
		alive[bucketOf(k.ran)]--
	}
	sig := make([]byte, 0, 64)
	for i, n := range alive {
		if n > 0 {
			sig = append(sig, byte(i), byte(n), byte(n>>8))
		}
	}
	if h := b.cache[string(sig)]; h != nil {
		return h
	}
	h := p.scale.mix(b, own, &alive)
	b.cache[string(sig)] = h
	return h
}

func (s *scale) mix(b *batch, own *histogram, alive *[buckets]uint16) *histogram {
	var outlast [buckets + 1]float64 // part of the kind that lasts to a bucket
	for i := buckets - 1; i >= 0; i-- {
		outlast[i] = outlast[i+1] + own[i]
	}
	var post histogram
	top := math.Inf(-1)
	for d := range post {
		l := math.Log(own[d]+1e-12) + b.like[d]
		for at, n := range alive {
			if n > 0 {
				l += float64(n) * math.Log(likely*s.outlast[at-d+buckets]+(1-likely)*outlast[at]+1e-9)
			}
		}
		post[d] = l
		top = max(top, l)
	}
	var sum float64
	for d := range post {
		post[d] = math.Exp(post[d] - top)
		sum += post[d]
	}
	h := new(histogram)
	for d, w := range post {
		if w /= sum; w > 1e-6 {
			for i := max(0, d-reach); i < min(buckets, d+reach+1); i++ {
				h[i] += likely * w * s.near[max(i-d, d-i)]
			}
		}
	}
	for i := range h {
		h[i] += (1 - likely) * own[i]
	}
	return h
}

// near is the probability of a bucket so many away from the batch's: normal on the logarithmic scale.
func near(distance int) float64 {
	x := float64(distance)
	return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
}

func bucketOf(d time.Duration) int {
	s := d.Seconds()
	if s < bucketMin {
		return 0
	}
	return min(1+int(math.Log(s/bucketMin)/math.Log(growth)), buckets-1)
}

// edge is where bucket i begins, in seconds.
func edge(i int) float64 {
	if i <= 0 {
		return 0
	}
	return bucketMin * math.Pow(growth, float64(i-1))
}

// middle is the duration of a bucket: the geometric mean of its ends.
func middle(i int) float64 {
	if i == 0 {
		return bucketMin / 2
	}
	return math.Sqrt(edge(i) * edge(i+1))
}

// rest are the buckets that a gang of the given age may still end in: from the first on, with what is left of its weight
// and how far its middle is away, as it is cut at the age.
func (s *scale) rest(h *histogram, age float64) (first int, weight, left float64) {
	first = bucketOf(seconds(age))
	end := s.edge[first+1]
	weight = h[first] * max((end-age)/(end-s.edge[first]), 0.02)
	return first, weight, max((age+max(end, age+1))/2-age, 1)
}

// gittins is the least, over how long to go on, of the expected work for one expected end: the index by which running
// the lowest first gives the least mean completion time when durations are known only by their distribution (Gittins
// 1979; Aalto, Ayesta and Righter 2009). It is the remaining time itself where that is known. Also the mean of what is
// left.
func (s *scale) gittins(h *histogram, age float64) (index float64, mean time.Duration) {
	first, weight, left := s.rest(h, age)
	total := weight
	for _, w := range h[first+1:] {
		total += w
	}
	if total <= 0 {
		return age + 1, seconds(age + 1) // older than anything seen: as long again
	}
	index = math.Inf(1)
	ended, work := weight, weight*left
	for i := first; ; i++ {
		if ended > 0 {
			index = min(index, (work+(total-ended)*max(s.edge[i+1]-age, 1))/ended)
		}
		if i+1 == buckets {
			return index, seconds(work / total)
		}
		ended += h[i+1]
		work += h[i+1] * max(s.middle[i+1]-age, 1)
	}
}

// quantiles are what is left with one in ten, half, and nine in ten ended.
func (s *scale) quantiles(h *histogram, age float64) (low, median, high time.Duration) {
	first, weight, left := s.rest(h, age)
	total := weight
	for _, w := range h[first+1:] {
		total += w
	}
	if total <= 0 {
		return seconds(age + 1), seconds(age + 1), seconds(age + 1)
	}
	var out [3]time.Duration
	sum, at := weight, left
	for i, k := first, 0; k < 3; {
		if sum >= []float64{0.1, 0.5, 0.9}[k]*total-1e-12 || i+1 == buckets {
			out[k] = seconds(at)
			k++
			continue
		}
		i++
		sum += h[i]
		at = max(s.middle[i]-age, 1)
	}
	return out[0], out[1], out[2]
}

// seconds is a duration that fits, whatever was computed.
func seconds(s float64) time.Duration {
	const most = float64(100 * 365 * 24 * time.Hour)
	return time.Duration(min(max(s*float64(time.Second), 0), most))
}

// saved is a Predictor as JSON.
type saved struct {
	Kinds   map[string]map[int]float64 `json:"kinds"` // weight by bucket
	Batches []savedBatch               `json:"batches"`
	Errors  Errors                     `json:"errors"`
}

type savedBatch struct {
	Key   string          `json:"key"`
	Last  time.Time       `json:"last"`
	Open  bool            `json:"open"` // the next of its kind may join
	Ended int             `json:"ended"`
	Like  []float64       `json:"like,omitempty"`
	Jobs  []savedForecast `json:"jobs,omitempty"`
}

type savedForecast struct {
	ID    string        `json:"id"`
	Ran   time.Duration `json:"ran"`
	First Forecast      `json:"first"`
}

// MarshalJSON writes all that was learned, the same bytes for the same knowledge.
func (p *Predictor) MarshalJSON() ([]byte, error) {
	s := saved{Kinds: map[string]map[int]float64{}, Errors: p.errors}
	for key, k := range p.kinds {
		m := map[int]float64{}
		for i, n := range k.Runs {
			if n > 1e-6 {
				m[i] = n
			}
		}
		s.Kinds[key] = m
	}
	seen := map[*batch]bool{}
	add := func(b *batch) {
		if seen[b] {
			return
		}
		seen[b] = true
		out := savedBatch{Key: b.key, Last: b.last, Open: p.batches[b.key] == b, Ended: b.ended}
		if b.ended > 0 {
			out.Like = b.like[:]
		}
		for _, k := range b.jobs {
			out.Jobs = append(out.Jobs, savedForecast{k.id, k.ran, k.first})
		}
		slices.SortFunc(out.Jobs, func(a, b savedForecast) int { return cmp.Compare(a.ID, b.ID) })
		s.Batches = append(s.Batches, out)
	}
	for _, b := range p.batches {
		add(b)
	}
	for _, k := range p.jobs {
		add(k.batch)
	}
	slices.SortFunc(s.Batches, func(a, b savedBatch) int {
		x, y := "", ""
		if len(a.Jobs) > 0 {
			x = a.Jobs[0].ID
		}
		if len(b.Jobs) > 0 {
			y = b.Jobs[0].ID
		}
		return cmp.Or(cmp.Compare(a.Key, b.Key), a.Last.Compare(b.Last), cmp.Compare(x, y))
	})
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Predictor) UnmarshalJSON(raw []byte) error {
	const op = "sched.Predictor"
	var s saved
	if err := json.Unmarshal(raw, &s); err != nil {
		return errs.E(op, errs.Corrupt, err)
	}
	*p = *NewPredictor()
	p.errors, p.version = s.Errors, 1
	for key, m := range s.Kinds {
		k := &kind{}
		for i, n := range m {
			if i < 0 || i >= buckets || !(n >= 0) || math.IsInf(n, 0) {
				return errs.Errorf(op, errs.Corrupt, "the record of durations of %q has %v in bucket %d", key, n, i)
			}
			k.Runs[i] = n
		}
		p.kinds[key] = k
	}
	for _, b := range s.Batches {
		if len(b.Like) != 0 && len(b.Like) != buckets {
			return errs.Errorf(op, errs.Corrupt, "the record of a batch has %d buckets instead of %d", len(b.Like), buckets)
		}
		out := &batch{key: b.Key, last: b.Last, ended: b.Ended, jobs: map[string]*known{}, words: fmt.Sprintf("%d of its batch that ended", b.Ended)}
		copy(out.like[:], b.Like)
		for _, j := range b.Jobs {
			k := &known{id: j.ID, batch: out, ran: j.Ran, first: j.First}
			out.jobs[j.ID], p.jobs[j.ID] = k, k
			out.count(k, 1)
		}
		if b.Open {
			p.batches[b.Key] = out
		}
	}
	return nil
}
