package batch

import (
	goruntime "runtime"
	"slices"
	"sync"
)

// Cores is what models compute on together: so many batches at once, shared among those that have work.
//
// Each model is charged the time that its batches take, divided by its weight, and a core that becomes free goes to the
// model that was charged least (start-time fair queueing: a batch is charged when it begins, by what those before it
// took, and that is corrected when it has ended). A model that comes back after a pause begins where the one that was
// charged least of those that are busy was before its present batches: what it did not use then is not saved up.
//
// A batch cannot be interrupted. So that a model of short batches does not wait behind the long ones of another, a model
// that computes nothing and was charged least of all begins even when all cores are taken; the operating system lets the
// two share a core then.
type Cores struct {
	n int

	mu      sync.Mutex
	running int
	waiting int      // models that wait for a core
	active  []*share // that run or wait
	least   float64  // charge of the active model that was charged least, without present batches; never falls
}

// share is one model's part of the cores. Cores.mu guards it.
type share struct {
	b       *Batcher
	weight  float64
	charged float64
	open    float64 // of that, for present batches
	typical float64 // what its batches took lately
	running int
	waits   bool // for a core
}

// grant is a core that a model holds for one batch, with what it was charged for it.
type grant struct {
	to     *share
	charge float64
}

// NewCores lets n batches run at once; 0: as many as there are processors.
func NewCores(n int) *Cores {
	if n <= 0 {
		n = goruntime.GOMAXPROCS(0)
	}
	return &Cores{n: n}
}

// take gives s a core, or notes that it waits for one.
func (c *Cores) take(s *share) (grant, bool) {
	if c == nil {
		return grant{to: s}, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.running == 0 && !s.waits {
		c.settle()
		s.charged = max(s.charged, c.least)
		c.active = append(c.active, s)
	}
	if c.free(s) {
		return c.start(s), true
	}
	c.wait(s, true)
	return grant{}, false
}

// give takes a core back after a batch of so many nanoseconds. It says to whom the core goes next: to the same model,
// which wants it or not, to another, or to nobody.
func (c *Cores) give(g grant, took float64, wants bool) (grant, bool) {
	s := g.to
	if c == nil {
		return grant{to: s}, wants
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	s.running--
	s.charged += took/s.weight - g.charge
	s.open -= g.charge
	if s.running == 0 {
		s.open = 0
	}
	if took > 0 {
		s.typical += (took - s.typical) / 8
	}
	if wants {
		c.wait(s, true)
	}
	var next *share
	if c.waiting > 0 {
		for _, o := range c.active {
			if o.waits && (next == nil || o.charged < next.charged) {
				next = o
			}
		}
	}
	if next == nil || !c.free(next) {
		c.exit(s)
		return grant{}, false
	}
	g = c.start(next)
	c.exit(s)
	return g, true
}

// leave notes that s waits no longer.
func (c *Cores) leave(s *share) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wait(s, false)
	c.exit(s)
}

// weigh sets a model's weight.
func (c *Cores) weigh(s *share, weight float64) {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	s.weight = weight
}

// The methods below are called with c.mu held.

// free says whether a batch of s may begin now.
func (c *Cores) free(s *share) bool {
	if c.running < c.n {
		return true
	}
	if s.running > 0 {
		return false
	}
	for _, o := range c.active {
		if o != s && o.charged < s.charged && o.typical > 0 { // of one that has ended no batch yet the charge is unknown
			return false
		}
	}
	return true
}

func (c *Cores) start(s *share) grant {
	c.wait(s, false)
	c.running++
	s.running++
	g := grant{s, s.typical / s.weight}
	s.charged += g.charge
	s.open += g.charge
	return g
}

func (c *Cores) wait(s *share, waits bool) {
	switch {
	case waits && !s.waits:
		c.waiting++
	case !waits && s.waits:
		c.waiting--
	}
	s.waits = waits
}

// settle brings the least charge up to date.
func (c *Cores) settle() {
	if len(c.active) == 0 {
		return
	}
	low := c.active[0].charged - c.active[0].open
	for _, o := range c.active[1:] {
		low = min(low, o.charged-o.open)
	}
	c.least = max(c.least, low)
}

// exit lets a model go that neither runs nor waits.
func (c *Cores) exit(s *share) {
	if s.running > 0 || s.waits {
		return
	}
	if i := slices.Index(c.active, s); i >= 0 {
		c.settle()
		c.active = slices.Delete(c.active, i, i+1)
	}
}
