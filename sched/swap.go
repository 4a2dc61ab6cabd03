package sched

import (
	"cmp"
	"slices"
)

// Swapping is the Mover's second means, for parts of devices: two tasks on different nodes change places, so that what is
// free beside both is free in one piece, and the task that waits fits there.

// part is a task that has a part of one device, and what is left of that.
type part struct {
	who  *holder
	left int32
}

// parts are tasks that have as much of a device as each other, and the most that is left beside one of them.
type parts struct {
	size, most int32
	list       []part
}

// parts are all that may move, the greatest first. Beside a task with nothing left no swap gains anything.
func (m *Mover) parts() (out []parts) {
	for i := range m.held {
		if m.h.sites[i].cordoned {
			continue
		}
		for _, w := range m.held[i] {
			if len(w.devices) != 1 || w.shape.milli >= whole || !w.movable || w.tried == m.try {
				continue
			}
			left := m.h.rooms[i].devices[w.devices[0]].milli
			if left <= 0 {
				continue
			}
			at := slices.IndexFunc(out, func(p parts) bool { return p.size == w.shape.milli })
			if at < 0 {
				at, out = len(out), append(out, parts{size: w.shape.milli})
			}
			out[at].list = append(out[at].list, part{w, left})
			out[at].most = max(out[at].most, left)
		}
	}
	slices.SortFunc(out, func(a, b parts) int { return cmp.Compare(b.size, a.size) })
	return out
}

// swap finds a place for a part of a device by letting two others change theirs.
func (m *Mover) swap(w *holder, t *trial) bool {
	s := w.shape
	if s.count != 1 || s.milli >= whole {
		return false
	}
	all, tries := m.parts(), 0
	for _, greater := range all {
		if s.milli-greater.most >= greater.size {
			continue
		}
		for _, out := range greater.list {
			short := s.milli - out.left
			site := &m.h.sites[out.who.room]
			if short <= 0 || short >= greater.size || int(s.most[site.class]) < 1 || !m.h.wouldFit(s, out.who.room, out.who, nil) {
				continue
			}
			for _, less := range all {
				if less.size > greater.size-short || less.most < greater.size-less.size {
					continue
				}
				for _, in := range less.list {
					if in.left < greater.size-less.size || in.who.room == out.who.room || !m.h.wouldFit(out.who.shape, in.who.room, in.who, nil) {
						continue
					}
					if tries++; tries > swapTries {
						return false
					}
					if m.exchange(w, out.who, in.who, t) {
						return true
					}
				}
			}
		}
	}
	return false
}

// exchange puts w where a is, a where b is, and b where a was, or elsewhere.
func (m *Mover) exchange(w, a, b *holder, t *trial) bool {
	mark, here, there := len(m.log), a.room, b.room
	m.leave(a)
	m.leave(b)
	if m.h.lacks(w.shape, here) == 0 && t.allowed(here) {
		m.come(w, here)
		if at := (trial{h: m.h, s: a.shape}); m.h.lacks(a.shape, there) == 0 && at.allowed(there) {
			m.come(a, there)
			if m.settle(b, 0, 0) {
				return true
			}
		}
	}
	m.rollback(mark)
	return false
}
