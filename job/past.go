package job

import (
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/sched/queue"
)

// What was used lately counts in the order of turns (sched/queue). It is carried on whenever what is held changes, and
// written down then, at most once in pastEvery: between two changes it follows from the record and from what runs, so a
// restart loses no more than that, and what ran on meanwhile counts.

// pastEvery is how often past use is written at most.
const pastEvery = time.Minute

// SavePast writes down what was used lately.
type SavePast struct{ Past queue.Past }

func (SavePast) effect() {}

// Recall takes up what was used lately, as it was written down.
func (c *Core) Recall(p queue.Past) {
	p.Half = c.site.HalfLife
	c.past, c.saved = p, p.At
	c.held = c.uses()
}

// account carries past use on when what is held has changed, and has it written when that is due.
func (c *Core) account() {
	if c.past.Half = c.site.HalfLife; c.past.Half <= 0 {
		return
	}
	if c.past.At.IsZero() {
		c.past.At = c.now
	}
	if len(c.notes) > 0 {
		if held := c.uses(); !slices.Equal(held, c.held) {
			c.past, c.held, c.unsaved = c.past.Until(c.now, c.held), held, true
		}
	}
	if c.unsaved && c.now.Sub(c.saved) >= pastEvery {
		c.do(SavePast{c.past})
		c.saved, c.unsaved = c.now, false
	}
}

// used is what was used lately, up to now.
func (c *Core) used(now time.Time) queue.Past { return c.past.Until(now, c.held) }

// uses are what jobs hold now.
func (c *Core) uses() (out []queue.Use) {
	for _, id := range c.ids() {
		if live := c.jobs[id].running(c.now); len(live.Placements) > 0 {
			out = append(out, live.Use())
		}
	}
	return out
}
