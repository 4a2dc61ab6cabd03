package queue

// Claim is a Use whose place in the tree is known. What names a queue that is not there claims nothing.
type Claim struct {
	leaf   int
	user   string
	amount Amount
}

// Claim finds the place of a use.
func (t *Tree) Claim(u Use) Claim { return Claim{t.leaf(u.Queue), u.User, u.Amount} }

// Reclaim says whether the item may take back what the other holds: their queues differ, all that the item's side would
// hold stays within what that side is guaranteed, and the other side holds more than it is guaranteed. The sides are the
// queues right below the one that both stand under. A side without a guaranteed amount reclaims nothing; what it holds
// is borrowed.
func (l *Line) Reclaim(t *Turn, other Claim) bool {
	leaf := other.leaf
	if leaf < 0 || leaf == t.leaf {
		return false
	}
	mine, theirs := l.tree.nodes[t.leaf].path, l.tree.nodes[leaf].path
	i := 0
	for i < len(mine) && i < len(theirs) && mine[i] == theirs[i] {
		i++
	}
	if i == len(mine) || i == len(theirs) {
		return false
	}
	for _, at := range mine[i:] {
		if !l.guaranteed(at, l.items[t.Item].Need) {
			return false
		}
	}
	return l.borrowed(theirs[i], other.amount)
}

// guaranteed says that with the amount the place would hold no more than it is guaranteed. Only resources of which it is
// guaranteed some count, and the amount has to need one of them.
func (l *Line) guaranteed(at int, a Amount) bool {
	g, v := l.tree.nodes[at].Guaranteed.vector(), a.vector()
	some := false
	for r := range g {
		if g[r] <= 0 || v[r] <= 0 {
			continue
		}
		if some = true; l.held[at][r]+v[r] > g[r]+slack {
			return false
		}
	}
	return some
}

// borrowed says that without the amount the place would still hold at least what it is guaranteed of some resource.
func (l *Line) borrowed(at int, a Amount) bool {
	g, v := l.tree.nodes[at].Guaranteed.vector(), a.vector()
	for r := range g {
		if v[r] > 0 && l.held[at][r]-v[r] >= g[r]-slack {
			return true
		}
	}
	return false
}

// Same says that the other's queue is the item's own.
func (l *Line) Same(t *Turn, other Claim) bool { return other.leaf == t.leaf }
