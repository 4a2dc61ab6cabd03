package queue

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Item is a gang that waits, as the line sees it.
type Item struct {
	ID       string
	Queue    string
	User     string
	Priority int
	Since    time.Time
	Deadline time.Time     // none when zero
	Duration time.Duration // predicted; 0 is unknown
	Need     Amount        // of all its tasks
	Index    float64       // the scheduler's own order: lower first
	Overdue  bool          // has waited so long that it goes before all of its priority
}

// State is what the shares come from.
type State struct {
	Now      time.Time
	Capacity Amount // of the whole hall
	Held     []Use  // by what runs; what names a queue that is not there is nobody's
	Past     Past
}

// Rules are the parts of the order that are configured. The zero value is priority, index, age, name.
type Rules struct {
	Ageing time.Duration `json:"ageing,omitempty"` // each so long in the queue raises the priority by one; 0 is never
	Raise  int           `json:"raise,omitempty"`  // ageing raises by no more than this; 10 when 0
	Margin time.Duration `json:"margin,omitempty"` // a deadline is near when so much beside its duration is left; 1 h when 0
}

// Turn is one item's turn, with what put it there.
type Turn struct {
	Item     int     // its place in the items that were given
	Position int     // 1 is first
	Queue    string  // the full path, "research/vision"
	Share    float64 // dominant share of the queue when its turn came, past use included
	Resource string  // of which that share is
	Within   bool    // the queue holds less than it is guaranteed
	Priority int     // with ageing
	Near     bool    // its deadline is near and can still be met
	leaf     int
	user     string
}

// Line gives the items their turns. It is made for one plan and not safe for several goroutines.
type Line struct {
	tree  *Tree
	items []Item
	whole vector
	held  []vector // by place in the tree, with all below it
	past  []vector
	stand []stand
	users map[[2]string]*share
	heads []waiting // by place in the tree; of leaves only
	left  []int     // how many wait at or below the place
	given int
}

type share struct{ held, past vector }

// stand is how a place stands while what it holds does not change.
type stand struct {
	known    bool
	share    float64
	resource string
	within   bool
}

// waiting is what waits in a queue: by user where its users share, else in one list.
type waiting struct{ lists []list }

type list struct {
	user  string
	turns []entry
}

// entry is what waits, with what decides its order.
type entry struct {
	index         float64
	item          int
	priority      int
	near, overdue bool
}

// Line orders the items. Those of queues that are not there get no turn: Check says so before they are accepted.
func (t *Tree) Line(s State, items []Item, rules Rules) *Line {
	n := len(t.nodes)
	vectors := make([]vector, 2*n)
	l := &Line{
		tree: t, items: items, whole: s.Capacity.vector(), held: vectors[:n:n], past: vectors[n:], stand: make([]stand, n),
		users: map[[2]string]*share{}, heads: make([]waiting, n), left: make([]int, n),
	}
	for _, u := range s.Held {
		l.count(u, func(s *share) *vector { return &s.held }, l.held)
	}
	for _, u := range s.Past.Uses {
		l.count(u, func(s *share) *vector { return &s.past }, l.past)
	}
	l.lay(s.Now, rules)
	for i := range l.heads {
		for _, one := range l.heads[i].lists {
			slices.SortFunc(one.turns, l.compare)
		}
	}
	return l
}

// lay puts the items into their queues' lists.
func (l *Line) lay(now time.Time, rules Rules) {
	leaves := make([]int32, len(l.items))
	counts := make([]int, len(l.tree.nodes))
	name, leaf := "", l.tree.leaf("")
	for i := range l.items {
		if it := &l.items[i]; it.Queue != name {
			name, leaf = it.Queue, l.tree.leaf(it.Queue)
		}
		if leaves[i] = int32(leaf); leaf >= 0 {
			counts[leaf]++
		}
	}
	lists := make([]map[string]int, len(l.tree.nodes)) // of the queues that users share
	for at, n := range counts {
		if n == 0 {
			continue
		}
		for _, up := range l.tree.nodes[at].path {
			l.left[up] += n
		}
		if l.tree.nodes[at].Users {
			lists[at] = map[string]int{}
		} else {
			l.heads[at].lists = []list{{turns: make([]entry, 0, n)}}
		}
	}
	for i := range l.items {
		at := leaves[i]
		if at < 0 {
			continue
		}
		it := &l.items[i]
		e := entry{item: i, index: it.Index, overdue: it.Overdue}
		e.priority, e.near = rules.urgency(it, now)
		w, k := &l.heads[at], 0
		if users := lists[at]; users != nil {
			var ok bool
			if k, ok = users[it.User]; !ok {
				k = len(w.lists)
				users[it.User] = k
				w.lists = append(w.lists, list{user: it.User})
			}
		}
		w.lists[k].turns = append(w.lists[k].turns, e)
	}
	for i := range l.heads {
		slices.SortFunc(l.heads[i].lists, func(a, b list) int { return cmp.Compare(a.user, b.user) })
	}
}

func (l *Line) count(u Use, part func(*share) *vector, total []vector) {
	leaf := l.tree.leaf(u.Queue)
	if leaf < 0 {
		return
	}
	v := u.Amount.vector()
	for _, at := range l.tree.nodes[leaf].path {
		total[at].add(v, 1)
	}
	if l.tree.nodes[leaf].Users {
		part(l.user(leaf, u.User)).add(v, 1)
	}
}

func (l *Line) user(leaf int, user string) *share {
	k := [2]string{l.tree.nodes[leaf].Name, user}
	s := l.users[k]
	if s == nil {
		s = &share{}
		l.users[k] = s
	}
	return s
}

// urgency is the priority with ageing, and whether a deadline is near that can still be met.
func (r Rules) urgency(it *Item, now time.Time) (priority int, near bool) {
	priority = it.Priority
	if r.Ageing > 0 && now.After(it.Since) {
		raise := r.Raise
		if raise <= 0 {
			raise = 10
		}
		priority += int(min(now.Sub(it.Since)/r.Ageing, time.Duration(raise)))
	}
	if !it.Deadline.IsZero() {
		margin := r.Margin
		if margin <= 0 {
			margin = time.Hour
		}
		left := it.Deadline.Sub(now) - it.Duration
		near = left >= 0 && left <= margin
	}
	return priority, near
}

// compare is the order within a queue.
func (l *Line) compare(x, y entry) int {
	if x.priority != y.priority {
		return cmp.Compare(y.priority, x.priority)
	}
	if x.near != y.near {
		return first(x.near, y.near)
	}
	a, b := &l.items[x.item], &l.items[y.item]
	if x.near {
		if c := a.Deadline.Add(-a.Duration).Compare(b.Deadline.Add(-b.Duration)); c != 0 {
			return c
		}
	}
	if x.overdue != y.overdue {
		return first(x.overdue, y.overdue)
	}
	if !x.overdue && x.index != y.index {
		if c := cmp.Compare(x.index, y.index); c != 0 {
			return c
		}
	}
	if c := a.Since.Compare(b.Since); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
}

// first puts what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Next gives the next turn; false when all have had theirs. What a turn takes is told by Take before the next one.
func (l *Line) Next() (turn Turn, ok bool) {
	ok = l.NextInto(&turn)
	return turn, ok
}

// NextInto is Next that writes the turn where it is to lie.
func (l *Line) NextInto(turn *Turn) bool {
	at := l.pick(l.tree.roots)
	if at < 0 {
		return false
	}
	for len(l.tree.nodes[at].children) > 0 {
		at = l.pick(l.tree.nodes[at].children)
	}
	w, k := &l.heads[at], 0
	for i := 1; i < len(w.lists); i++ {
		if l.userShare(at, w.lists[i].user) < l.userShare(at, w.lists[k].user) {
			k = i
		}
	}
	e := w.lists[k].turns[0]
	*turn = Turn{Item: e.item, Priority: e.priority, Near: e.near, leaf: at, user: w.lists[k].user}
	if w.lists[k].turns = w.lists[k].turns[1:]; len(w.lists[k].turns) == 0 {
		w.lists = slices.Delete(w.lists, k, k+1)
	}
	for _, up := range l.tree.nodes[at].path {
		l.left[up]--
	}
	l.given++
	s := l.stands(at)
	turn.Position, turn.Queue = l.given, l.tree.nodes[at].full
	turn.Share, turn.Resource, turn.Within = s.share, s.resource, s.within
	return true
}

// pick is the sibling whose turn it is: one that holds less than it is guaranteed before others, then the least share by
// weight; of equal ones that whose first item is the first. -1 when nothing waits below any.
func (l *Line) pick(siblings []int) int {
	best := -1
	for _, i := range siblings {
		if l.left[i] == 0 {
			continue
		}
		if best < 0 || l.before(i, best) {
			best = i
		}
	}
	return best
}

func (l *Line) before(i, j int) bool {
	x, y := l.stands(i), l.stands(j)
	if x.within != y.within {
		return x.within
	}
	if a, b := x.share/l.tree.nodes[i].Weight, y.share/l.tree.nodes[j].Weight; a != b {
		return a < b
	}
	return l.compare(l.head(i), l.head(j)) < 0
}

// head is the first item at or below a place.
func (l *Line) head(at int) (best entry) {
	best.item = -1
	better := func(e entry) {
		if best.item < 0 || l.compare(e, best) < 0 {
			best = e
		}
	}
	for _, one := range l.heads[at].lists {
		better(one.turns[0])
	}
	for _, c := range l.tree.nodes[at].children {
		if l.left[c] > 0 {
			better(l.head(c))
		}
	}
	return best
}

// stands is how the place stands: its dominant share with what it held lately, and whether it is within what it is
// guaranteed.
func (l *Line) stands(at int) *stand {
	s := &l.stand[at]
	if !s.known {
		v := l.held[at]
		v.add(l.past[at], 1)
		share, r := v.dominant(l.whole)
		*s = stand{true, share, resources[r], l.within(at)}
	}
	return s
}

func (l *Line) userShare(at int, user string) float64 {
	s := l.user(at, user)
	v := s.held
	v.add(s.past, 1)
	x, _ := v.dominant(l.whole)
	return x
}

// within says that the place holds less of each resource than it is guaranteed of it.
func (l *Line) within(at int) bool {
	g := l.tree.nodes[at].Guaranteed.vector()
	some := false
	for r := range g {
		if g[r] <= 0 {
			continue
		}
		if some = true; l.held[at][r] >= g[r]-slack {
			return false
		}
	}
	return some
}

// Over is why a quota does not let an item run, whatever is free.
type Over struct {
	Queue    string // whose limit it is
	Resource string
	Needed   string
	Offered  string // what the limit leaves
	Limit    string
}

// String says it in words.
func (o Over) String() string {
	return fmt.Sprintf("queue %s is limited to %s of %s, which leaves %s", o.Queue, o.Limit, o.Resource, o.Offered)
}

// Over says which limit the item would exceed, of its queue or one above it; nil when none.
func (l *Line) Over(t Turn) *Over { return l.over(t.leaf, l.items[t.Item].Need) }

// OverOnly is Over for a part of what the item asks for.
func (l *Line) OverOnly(t Turn, a Amount) *Over { return l.over(t.leaf, a) }

func (l *Line) over(leaf int, need Amount) *Over {
	if all := l.overs(leaf, need, 1); len(all) > 0 {
		return &all[0]
	}
	return nil
}

// Overs are all the limits that so much more of the item's queue would exceed.
func (l *Line) Overs(t Turn, a Amount) []Over { return l.overs(t.leaf, a, len(resources)*maxDepth) }

func (l *Line) overs(leaf int, need Amount, most int) []Over {
	return l.tree.overs(leaf, need, most, func(at int) vector { return l.held[at] })
}

func (t *Tree) overs(leaf int, need Amount, most int, held func(at int) vector) (out []Over) {
	v := need.vector()
	for _, at := range t.nodes[leaf].path {
		if !t.nodes[at].limited {
			continue
		}
		limit, h := t.nodes[at].Limit.vector(), held(at)
		for r := range limit {
			if limit[r] > 0 && v[r] > 0 && h[r]+v[r] > limit[r]+slack && len(out) < most {
				out = append(out, Over{
					Queue: t.nodes[at].Name, Resource: resources[r], Needed: write(r, v[r]),
					Offered: write(r, limit[r]-h[r]), Limit: write(r, limit[r]),
				})
			}
		}
	}
	return out
}

// Room tells whether so much more exceeds no limit.
func (l *Line) Room(c Claim) bool { return c.leaf < 0 || len(l.overs(c.leaf, c.amount, 1)) == 0 }

// Take counts what the item holds from now on.
func (l *Line) Take(t Turn) { l.hold(t.leaf, t.user, l.items[t.Item].Need, 1) }

// TakeOnly counts a part of what the item asks for: an elastic gang that starts smaller.
func (l *Line) TakeOnly(t Turn, a Amount) { l.hold(t.leaf, t.user, a, 1) }

// Release counts what somebody holds no more: what is preempted.
func (l *Line) Release(c Claim) { l.hold(c.leaf, c.user, c.amount, -1) }

// Return counts again what Release took away.
func (l *Line) Return(c Claim) { l.hold(c.leaf, c.user, c.amount, 1) }

func (l *Line) hold(leaf int, user string, a Amount, times float64) {
	if leaf < 0 {
		return
	}
	v := a.vector()
	for _, at := range l.tree.nodes[leaf].path {
		l.held[at].add(v, times)
		l.stand[at].known = false
	}
	if l.tree.nodes[leaf].Users {
		l.user(leaf, user).held.add(v, times)
	}
}
