package sched

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Predictor learns online how long gangs run, from those that have ended. It keeps a histogram of durations, on a
// logarithmic scale, for every kind of work: by queue, user, name and shape; without the name; without the user; of the
// queue; of all. A kind of which little is known leans on the next wider one. Older runs fade.
//
// Work that is submitted one after the other is alike: sweeps, and what is tried again. So what jobs of the same queue, user
// and shape took that came shortly before or after a job, or how long they have been running, is evidence for it (Bayes),
// as far as such neighbours were alike before: see stream.
//
// A Predictor is data and may be written as JSON. It reads no clock. It is not for several goroutines.
type Predictor struct {
	kinds   map[string]*kind
	lines   map[lineage]*levels
	streams map[string]*stream
	jobs    map[string]*known // submitted and not ended
	alike   likeness          // of all streams
	news    int               // pairs that are in it
	errors  Errors
	version int // of the kinds
	scale   scale
}

// Errors is how far forecasts at submission were from what came.
type Errors struct {
	Runs   int     `json:"runs"`   // that ended with a forecast
	Factor float64 `json:"factor"` // typical factor between forecast and duration, 1 is exact: e to the mean of |ln|
	Twice  float64 `json:"twice"`  // part of the runs that the median was within a factor of two of
	Inside float64 `json:"inside"` // part that ended between the forecast's low and high; 0.8 is right
}

const (
	halfRuns = 50.0 // after so many newer runs one counts half
	lean     = 3.0  // runs that the wider kind is worth
	sweepGap = time.Minute

	linesMost = 1 << 14 // lineages that are kept
)

// kind is what ended of one kind of work.
type kind struct{ Runs histogram }

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
	return &Predictor{kinds: map[string]*kind{}, lines: map[lineage]*levels{}, streams: map[string]*stream{}, jobs: map[string]*known{}, scale: newScale()}
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
	fresh   *Forecast // of one that has not run; nil when not known
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
		if len(p.lines) > linesMost {
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

// newStream is the stream of a kind by user or by size.
func newStream(key string) *stream {
	of := &levels{version: -1, list: []level{{key: key}}}
	if parts := strings.Split(key, "\x00"); parts[0] == "user" && len(parts) == 4 {
		of.list = append(of.list, level{key: strings.Join([]string{"size", parts[1], parts[3]}, "\x00")})
	}
	of.list = append(of.list, level{key: "all"})
	return &stream{of: of}
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
	s := p.streams[l[0].key]
	if s == nil {
		s = newStream(l[0].key)
		p.streams[l[0].key] = s
	}
	k := s.add(g.ID, g.Since)
	k.of = of
	p.jobs[g.ID] = k
	k.first = p.Forecast(g, 0)
}

// Ran tells how long a gang has run until now.
func (p *Predictor) Ran(id string, ran time.Duration) {
	if k := p.jobs[id]; k != nil {
		k.stream.ran(k, ran, p)
	}
}

// Gone tells of a gang that left without having done its work: canceled, failed. It says nothing of durations.
func (p *Predictor) Gone(id string) {
	if k := p.jobs[id]; k != nil {
		k.stream.gone(k)
		delete(p.jobs, id)
	}
}

// Ended tells of a gang that has done its work in so much time of running.
func (p *Predictor) Ended(g Gang, ran time.Duration) {
	p.Submitted(g)
	k := p.jobs[g.ID]
	delete(p.jobs, g.ID)
	p.judge(k.first, ran)
	at := bucketOf(ran)
	all := p.levels(&g, k)
	k.stream.end(k, at, p)
	// The runs of a sweep are no independent news: the n-th counts for 1/n.
	k.sweep.Ended++
	weight := 1 / float64(k.sweep.Ended)
	fade := math.Exp2(-weight / halfRuns)
	p.version++
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
	k.rare = rarity(p.mixed(k.stream.of)[at]) // its kind knows of it by now
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
	own := p.mixed(all)
	if k != nil {
		if k.asked == all && k.at == p.version && k.news == p.news && k.told == ran && !k.stirred {
			return k.last
		}
		if e := k.stream.evidence(k, p); e.runs > 0 {
			f := p.scale.forecast(p.scale.given(own, &e.odds), ran)
			if f.From = all.from; e.words != "" {
				f.From = e.words
			}
			k.last, k.at, k.news, k.told, k.asked = f, p.version, p.news, ran, all
			return f
		}
		k.asked = nil
	}
	if ran != 0 {
		f := p.scale.forecast(own, ran)
		f.From = all.from
		return f
	}
	if all.fresh == nil {
		f := p.scale.forecast(own, 0)
		f.From = all.from
		all.fresh = &f
	}
	return *all.fresh
}

// forecast is what the histogram says of a gang that has run for so long.
func (s *scale) forecast(h *histogram, ran time.Duration) (f Forecast) {
	age := max(ran.Seconds(), 0)
	f.Index, f.Mean = s.gittins(h, age)
	f.Low, f.Median, f.High = s.quantiles(h, age)
	return f
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
	all.version, all.fresh = p.version, nil
	return h
}
