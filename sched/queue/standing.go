package queue

// Standing is what a queue and those below it hold now, and how many of their items wait.
type Standing struct {
	Queue
	Held     Amount  `json:"held"`
	Share    float64 `json:"share"`    // of the whole, of the resource of which it holds most
	Resource string  `json:"resource"` // which that is
	Running  int     `json:"running"`
	Waiting  int     `json:"waiting"`
}

// Standings tells how the queues stand, in the order of their configuration. What names a queue that is not there is
// not counted.
func (t *Tree) Standings(s State, items []Item) []Standing {
	l := t.Line(s, items, Rules{})
	out := make([]Standing, len(t.nodes))
	for i, n := range t.nodes {
		share, r := l.held[i].dominant(l.whole)
		out[i] = Standing{Queue: n.Queue, Held: l.held[i].amount(), Share: share, Resource: resources[r], Waiting: l.left[i]}
	}
	for _, u := range s.Held {
		if leaf := t.leaf(u.Queue); leaf >= 0 {
			for _, at := range t.nodes[leaf].path {
				out[at].Running++
			}
		}
	}
	return out
}
