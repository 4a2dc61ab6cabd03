// Package queue decides whose turn it is: a tree of queues with quotas, shares that remember, and the order in which
// waiting gangs are taken. It is pure and knows nothing of nodes.
//
// A queue has a guaranteed amount, a limit and a weight. The guaranteed amount is what its gangs can count on: while a
// queue holds less, it goes before those that hold more than theirs, and may reclaim what others borrowed. The limit is
// never exceeded, whatever is free. What is left is shared by dominant-resource fairness (Ghodsi, NSDI'11): the queue
// whose largest share of any one resource, by its weight, is the least goes first. Past use counts too and fades with a
// half-life, so that who used little lately is not behind who used much.
//
//	tree, err := queue.New([]queue.Queue{{Name: "vision", Weight: 2}, {Name: "speech"}})
//	line := tree.Line(queue.State{Now: now, Capacity: all, Held: held, Past: past}, items, queue.Rules{})
//	for turn, ok := line.Next(); ok; turn, ok = line.Next() {
//		if over := line.Over(turn); over == nil && fits(turn) {
//			line.Take(turn)
//		}
//	}
//
// Within a queue gangs go by priority (raised by ageing and by deadlines that come near), then by the index that the
// scheduler gives them (lower first), then by age and name. Without any queue in the configuration there is one,
// "default", so the order is priority, age, name.
package queue

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Default is the queue of whoever names none.
const Default = "default"

// maxDepth bounds the tree; deeper ones are a mistake.
const maxDepth = 16

// Queue is a node of the tree as it is configured. Zero amounts are: nothing guaranteed, not limited.
type Queue struct {
	Name       string  `json:"name" yaml:"name"`
	Parent     string  `json:"parent,omitempty" yaml:"parent,omitempty"` // none when empty
	Guaranteed Amount  `json:"guaranteed,omitzero" yaml:"guaranteed,omitempty"`
	Limit      Amount  `json:"limit,omitzero" yaml:"limit,omitempty"`
	Weight     float64 `json:"weight,omitempty" yaml:"weight,omitempty"` // 1 when 0
	Users      bool    `json:"users,omitempty" yaml:"users,omitempty"`   // its users share it fairly; else they go as one
}

// Tree is the queues, checked.
type Tree struct {
	nodes    []node
	index    map[string]int
	roots    []int
	standard int // the queue of whoever names none
}

type node struct {
	Queue
	parent   int // -1 at the top
	children []int
	path     []int  // from the top to the queue itself
	full     string // the path in words, "research/vision"
	limited  bool   // in any resource
}

// New checks the queues. Of none it makes the one queue "default".
func New(queues []Queue) (*Tree, error) {
	if len(queues) == 0 {
		queues = []Queue{{Name: Default}}
	}
	t := &Tree{index: make(map[string]int, len(queues)), nodes: make([]node, 0, len(queues))}
	for _, q := range queues {
		if err := q.validate(); err != nil {
			return nil, err
		}
		if _, ok := t.index[q.Name]; ok {
			return nil, errs.Errorf("queue.New", errs.Invalid, "queue %q is there twice: give each queue its own name", q.Name)
		}
		if q.Weight == 0 {
			q.Weight = 1
		}
		t.index[q.Name] = len(t.nodes)
		t.nodes = append(t.nodes, node{Queue: q, parent: -1, limited: q.Limit != Amount{}})
	}
	if err := t.join(); err != nil {
		return nil, err
	}
	for i := range t.nodes {
		if err := t.nested(i); err != nil {
			return nil, err
		}
	}
	var ok bool
	if t.standard, ok = t.index[Default]; !ok || len(t.nodes[t.standard].children) > 0 {
		t.standard = t.index[t.Names()[0]]
	}
	return t, nil
}

func (q Queue) validate() error {
	const op = "queue.New"
	switch {
	case q.Name == "" || strings.TrimSpace(q.Name) != q.Name || strings.ContainsAny(q.Name, "/,\n"):
		return errs.Errorf(op, errs.Invalid, "a queue is named %q: give a name without slashes, commas and spaces at its ends", q.Name)
	case !(q.Weight >= 0) || q.Weight > 1e6:
		return errs.Errorf(op, errs.Invalid, "queue %q has the weight %v: give a number from 0 (which is 1) to 1e6", q.Name, q.Weight)
	}
	g, l := q.Guaranteed.vector(), q.Limit.vector()
	for r, name := range resources {
		switch {
		case !(g[r] >= 0) || !(l[r] >= 0) || math.IsInf(g[r], 0) || math.IsInf(l[r], 0):
			return errs.Errorf(op, errs.Invalid, "queue %q: its %s must be a number that is not negative (guaranteed %v, limit %v)", q.Name, name, g[r], l[r])
		case l[r] > 0 && g[r] > l[r]:
			return errs.Errorf(op, errs.Invalid, "queue %q is guaranteed %v of %s and limited to %v: the limit must not be below what is guaranteed", q.Name, g[r], name, l[r])
		}
	}
	return nil
}

// join links parents and children and finds cycles.
func (t *Tree) join() error {
	const op = "queue.New"
	for i := range t.nodes {
		n := &t.nodes[i]
		if n.Parent == "" {
			t.roots = append(t.roots, i)
			continue
		}
		p, ok := t.index[n.Parent]
		if !ok {
			return errs.Errorf(op, errs.Invalid, "queue %q has the parent %q, which is not there: there are %s", n.Name, n.Parent, strings.Join(slices.Sorted(maps.Keys(t.index)), ", "))
		}
		n.parent = p
		t.nodes[p].children = append(t.nodes[p].children, i)
	}
	for i := range t.nodes {
		var path []int
		for at := i; at >= 0; at = t.nodes[at].parent {
			if slices.Contains(path, at) {
				return errs.Errorf(op, errs.Invalid, "queue %q is above itself (%s): give one of them another parent", t.nodes[at].Name, t.names(append(path, at)))
			}
			path = append(path, at)
		}
		if len(path) > maxDepth {
			return errs.Errorf(op, errs.Invalid, "queue %q is %d queues deep, the most is %d", t.nodes[i].Name, len(path), maxDepth)
		}
		slices.Reverse(path)
		t.nodes[i].path = path
		var names []string
		for _, at := range path {
			names = append(names, t.nodes[at].Name)
		}
		t.nodes[i].full = strings.Join(names, "/")
	}
	return nil
}

func (t *Tree) names(path []int) string {
	var out []string
	for _, i := range path {
		out = append(out, t.nodes[i].Name)
	}
	return strings.Join(out, " under ")
}

// nested checks that the children of a queue are promised no more than it has itself.
func (t *Tree) nested(i int) error {
	const op = "queue.New"
	n := t.nodes[i]
	own, limit := n.Guaranteed.vector(), n.Limit.vector()
	var sum vector
	for _, c := range n.children {
		child := t.nodes[c]
		g, l := child.Guaranteed.vector(), child.Limit.vector()
		for r, name := range resources {
			sum[r] += g[r]
			if limit[r] > 0 && (l[r] > limit[r]+slack) {
				return errs.Errorf(op, errs.Invalid, "queue %q is limited to %v of %s, more than the %v of its parent %q", child.Name, l[r], name, limit[r], n.Name)
			}
		}
	}
	for r, name := range resources {
		if len(n.children) > 0 && sum[r] > own[r]+slack {
			return errs.Errorf(op, errs.Invalid, "the queues under %q are guaranteed %v of %s together, %q itself %v: raise its guaranteed amount or lower theirs", n.Name, sum[r], name, n.Name, own[r])
		}
	}
	return nil
}

// Has says whether gangs may name the queue: it is there and has no queues below it.
func (t *Tree) Has(name string) bool {
	i, ok := t.index[name]
	return ok && len(t.nodes[i].children) == 0
}

// Names are the queues that gangs may name, sorted.
func (t *Tree) Names() []string {
	var out []string
	for _, n := range t.nodes {
		if len(n.children) == 0 {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out
}

// Check refuses a queue that gangs may not name, in words; "" is the default queue.
func (t *Tree) Check(name string) error {
	if t.leaf(name) >= 0 {
		return nil
	}
	if _, ok := t.index[name]; ok {
		return errs.Errorf("queue.Check", errs.Invalid, "queue %q is made of others: name one of %s", name, strings.Join(t.Names(), ", "))
	}
	return errs.Errorf("queue.Check", errs.Invalid, "there is no queue %q; there are %s", name, strings.Join(t.Names(), ", "))
}

// Never are the limits, of the queue and those above it, that so much would exceed even if nothing else were held. None
// for a queue that Check refuses.
func (t *Tree) Never(name string, a Amount) []Over {
	leaf := t.leaf(name)
	if leaf < 0 {
		return nil
	}
	return t.overs(leaf, a, len(resources)*maxDepth, func(int) vector { return vector{} })
}

// Path is the whole name of a queue that gangs may name, "research/vision"; "" when there is none.
func (t *Tree) Path(name string) string {
	leaf := t.leaf(name)
	if leaf < 0 {
		return ""
	}
	return t.nodes[leaf].full
}

// leaf is the place of a queue that may hold gangs, -1 when there is none. Who names none goes to "default" or, where
// that is not configured, to the first.
func (t *Tree) leaf(name string) int {
	if name == "" {
		return t.standard
	}
	if i, ok := t.index[name]; ok && len(t.nodes[i].children) == 0 {
		return i
	}
	return -1
}
