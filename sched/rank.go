package sched

// ranking is what one shape makes of every node, as it was when the node was last looked at.
type ranking struct {
	seen   int      // how much of the hall's log is in it
	at     []uint32 // version of each room
	key    []int32  // the score when the task fits, else the constraints that it fails, negative
	best   []int32  // of each block, -1 when it fits nowhere there
	fits   int      // nodes
	failed []failed // nodes by what they fail
	shared bool     // with a clone: not to be changed
}

type failed struct{ mask, nodes int32 }

func (r *ranking) count(mask, by int32) {
	for i := range r.failed {
		if r.failed[i].mask == mask {
			r.failed[i].nodes += by
			return
		}
	}
	r.failed = append(r.failed, failed{mask, by})
}

// ranked is the shape's ranking, up to date.
func (h *Hall) ranked(s *shape) *ranking {
	r := s.rank
	end := h.base + len(h.log)
	switch {
	case r == nil:
		s.rank = h.newRanking(s)
		return s.rank
	case r.seen == end:
		return r
	}
	if r.shared {
		r = r.clone()
		s.rank = r
	}
	if r.seen < h.base {
		for i := range h.rooms {
			h.look(s, r, int32(i))
		}
	} else {
		for _, i := range h.log[r.seen-h.base:] {
			h.look(s, r, i)
		}
	}
	r.seen = end
	return r
}

func (r *ranking) clone() *ranking {
	c := *r
	c.at = append([]uint32(nil), r.at...)
	c.key = append([]int32(nil), r.key...)
	c.best = append([]int32(nil), r.best...)
	c.failed = append([]failed(nil), r.failed...)
	c.shared = false
	return &c
}

// newRanking looks at every node; at those that are empty and alike once.
func (h *Hall) newRanking(s *shape) *ranking {
	n := len(h.rooms)
	r := &ranking{seen: h.base + len(h.log), at: make([]uint32, n), key: make([]int32, n), best: make([]int32, len(h.blocks)-1)}
	last := -1 // an empty node that was looked at
	for i := range h.rooms {
		room, site := &h.rooms[i], &h.sites[i]
		if last >= 0 && room.held == 0 && h.sites[last].class == site.class && h.sites[last].cordoned == site.cordoned &&
			h.sites[last].capacity == site.capacity && h.classes[site.class].uniform {
			r.key[i] = r.key[last]
		} else {
			r.key[i] = h.key(s, int32(i))
			if room.held == 0 && room.free == site.capacity {
				last = i
			}
		}
		r.at[i] = room.version
		if k := r.key[i]; k < 0 {
			r.count(-k, 1)
		} else {
			r.fits++
		}
	}
	for b := range r.best {
		r.top(h, b)
	}
	return r
}

// look brings one node up to date.
func (h *Hall) look(s *shape, r *ranking, i int32) {
	v := h.rooms[i].version
	if r.at[i] == v {
		return
	}
	r.at[i] = v
	before, after := r.key[i], h.key(s, i)
	if before == after {
		return
	}
	r.key[i] = after
	if before < 0 {
		r.count(-before, -1)
	} else {
		r.fits--
	}
	if after < 0 {
		r.count(-after, 1)
	} else {
		r.fits++
	}
	switch b := h.blockOf(i); {
	case after >= r.best[b]:
		r.best[b] = after
	case before == r.best[b]:
		r.top(h, b)
	}
}

func (h *Hall) blockOf(i int32) int {
	c := &h.classes[h.sites[i].class]
	return int(c.firstBlock + (i-c.first)/blockSize)
}

func (r *ranking) top(h *Hall, b int) {
	best := int32(-1)
	for _, k := range r.key[h.blocks[b]:h.blocks[b+1]] {
		best = max(best, k)
	}
	r.best[b] = best
}

// key is the score of the task on the node, or what it fails.
func (h *Hall) key(s *shape, i int32) int32 {
	if mask := h.lacks(s, i); mask != 0 {
		return -mask
	}
	var devices [16]int32
	score, _ := h.score(s, i, 0, devices[:0])
	return score
}

// score is how well the task suits the node, which it fits, and which devices it would get.
func (h *Hall) score(s *shape, i int32, domain uint16, out []int32) (int32, []int32) {
	r, c := &h.rooms[i], &h.classes[h.sites[i].class]
	cores, tie := r.free[cpu]-s.need[cpu], h.tightness(s, r)
	if s.count == 0 {
		return h.grade(r.frag-h.fragment(c, cores, r.devices))*fine + tie, out
	}
	if s.milli >= whole {
		out = h.wholes(s, r, domain, out)
		for _, d := range out {
			r.devices[d].milli -= whole
		}
		score := h.grade(r.frag - h.fragment(c, cores, r.devices))
		for _, d := range out {
			r.devices[d].milli += whole
		}
		return score*fine + tie, out
	}
	best, at := int32(-1), int32(-1)
	for d := range r.devices {
		v := &r.devices[d]
		if !h.fitsDevice(s, v) || domain != 0 && v.domain != domain || like(r.devices[:d], v) {
			continue
		}
		v.milli -= s.milli
		score := h.grade(r.frag - h.fragment(c, cores, r.devices))
		v.milli += s.milli
		if score > best {
			best, at = score, int32(d)
		}
	}
	if at < 0 {
		return -1, out
	}
	return best*fine + tie, append(out, at)
}

// tightness decides between nodes of one score: the less of devices the task leaves there, the better. With more weight
// it makes up for some of the score.
func (h *Hall) tightness(s *shape, r *room) int32 {
	left := -int64(s.count) * int64(s.milli)
	for d := range r.devices {
		left += int64(r.devices[d].milli)
	}
	const device = fine / 8
	return (fine - 1 - int32(max(min(left*device/whole, fine-1), 0))) * h.tight / fine
}

// like tells whether one of the devices is as good as the other.
func like(devices []device, v *device) bool {
	for i := range devices {
		if devices[i] == *v {
			return true
		}
	}
	return false
}

// wholes are the free devices that a task gets: of the domain that has just enough, where there are domains; of the
// first ones otherwise.
func (h *Hall) wholes(s *shape, r *room, domain uint16, out []int32) []int32 {
	if domain == 0 && s.count > 1 {
		domain = h.tightest(s, r)
	}
	for strict := domain != 0; ; strict = false {
		for d := range r.devices {
			if v := &r.devices[d]; len(out) < s.count && h.fitsDevice(s, v) && (!strict || v.domain == domain) {
				out = append(out, int32(d))
			}
		}
		if len(out) >= s.count || !strict {
			return out
		}
		out = out[:0]
	}
}

// tightest is the domain of the node that has the fewest free devices and still enough, 0 when there is none.
func (h *Hall) tightest(s *shape, r *room) uint16 {
	best, least := uint16(0), len(r.devices)+1
	for d := range r.devices {
		domain := r.devices[d].domain
		if domain == 0 {
			continue
		}
		n := 0
		for e := range r.devices {
			if r.devices[e].domain == domain && h.fitsDevice(s, &r.devices[e]) {
				n++
			}
		}
		if n >= s.count && n < least {
			best, least = domain, n
		}
	}
	return best
}

// pick is the node that suits the task best, by name among equals; -1 when it fits none.
func (h *Hall) pick(s *shape) int32 {
	r := h.ranked(s)
	if r.fits == 0 {
		return -1
	}
	h.scarcity()
	var value int32
	block, from := -1, int32(-1) // the best block, and its class
	for c := range h.classes {
		k := &h.classes[c]
		less := h.fee(s, int32(c))
		for b := k.firstBlock; b < k.lastBlock; b++ {
			top := r.best[b]
			if top < 0 {
				continue
			}
			if v := top - less; block < 0 || v > value || v == value && from != int32(c) && h.first(r, int(b)) < h.first(r, block) {
				value, block, from = v, int(b), int32(c)
			}
		}
	}
	return h.byOrder[h.first(r, block)]
}

// fee is what the shape pays for a node of the class.
func (h *Hall) fee(s *shape, class int32) int32 {
	if s.count == 0 {
		return s.price[class]
	}
	return s.price[class] + h.classes[class].prices.scarce
}

// first is the rank by name of the block's first node that is as good as its best.
func (h *Hall) first(r *ranking, b int) int32 {
	for i := h.blocks[b]; ; i++ {
		if r.key[i] == r.best[b] {
			return h.sites[i].order
		}
	}
}
