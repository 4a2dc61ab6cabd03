package queue

import (
	"cmp"
	"slices"
)

// Standing is what a queue and those below it hold now, and how many of their items wait.
type Standing struct {
	Queue
	Held     Amount  `json:"held"`
	Share    float64 `json:"share"`    // of the whole, of the resource of which it holds most
	Resource string  `json:"resource"` // which that is
	Running  int     `json:"running"`
	Waiting  int     `json:"waiting"`
	Lately   float64 `json:"lately"` // of the whole, on average with past use fading, of the resource of which it was most

	By []UserStanding `json:"by,omitempty"` // where its users share it: each, by name
}

// UserStanding is what a user holds of a queue that its users share.
type UserStanding struct {
	User     string  `json:"user"`
	Share    float64 `json:"share"`
	Resource string  `json:"resource"`
	Lately   float64 `json:"lately"`
}

// Standings tells how the queues stand, in the order of their configuration. What names a queue that is not there is
// not counted.
func (t *Tree) Standings(s State, items []Item) []Standing {
	l := t.Line(s, items, Rules{})
	out := make([]Standing, len(t.nodes))
	for i, n := range t.nodes {
		share, r := l.held[i].dominant(l.whole)
		out[i] = Standing{Queue: n.Queue, Held: l.held[i].amount(), Share: share, Resource: resources[r], Waiting: l.left[i]}
		out[i].Lately, _ = l.past[i].dominant(l.whole)
		for k, s := range l.users {
			if k[0] == n.Name {
				u := UserStanding{User: k[1]}
				share, r := s.held.dominant(l.whole)
				u.Share, u.Resource = share, resources[r]
				u.Lately, _ = s.past.dominant(l.whole)
				out[i].By = append(out[i].By, u)
			}
		}
		slices.SortFunc(out[i].By, func(a, b UserStanding) int { return cmp.Compare(a.User, b.User) })
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
