// Package fleet knows the machines: what each node has and which of them may take new work.
//
// A node's capacity is a fact that an executor reports. Whether a node may be used is an intent, a Cordon, that a
// person or a reaction of the loop declares; it outlives both the server and the node's absence. Fleet joins the two
// into the snapshot that the scheduler sees. Cordoning stops nothing that runs.
//
//	f, err := fleet.Open(ctx, store, clock)
//	f.Report(fleet.Node{Name: "here", CPU: 2, Memory: 8 * units.GiB})
//	err = f.Cordon(ctx, "user/admin", "here", "fan replaced today")
package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Node is one machine and what it has for tasks. What is zero from Storage on is unknown, and then not limited.
type Node struct {
	Name         string              `json:"name"`
	CPU          float64             `json:"cpu"` // cores
	Memory       units.Bytes         `json:"memory"`
	Disk         units.Bytes         `json:"disk"`                 // for the folders of tasks
	Storage      units.Bytes         `json:"storage,omitempty"`    // for what outlives a task
	Bandwidth    units.BitsPerSecond `json:"bandwidth,omitempty"`  // of its network
	Rack         string              `json:"rack,omitempty"`       // name of its Rack
	Feed         string              `json:"feed,omitempty"`       // name of the PowerCap right above it
	IdleWatts    units.Watts         `json:"idle_watts,omitempty"` // drawn without any task
	MaxWatts     units.Watts         `json:"max_watts,omitempty"`  // its own cap, idle draw included
	Accelerators []Accelerator       `json:"accelerators,omitempty"`
	Cordoned     bool                `json:"cordoned"`         // takes no new work
	Reason       string              `json:"reason,omitempty"` // of the cordon
}

// Accelerator is one device of a node.
type Accelerator struct {
	ID     string      `json:"id"`             // how the executor grants it: "0" is /dev/nvidia0
	Kind   string      `json:"kind,omitempty"` // gpu (when empty), npu, tpu
	Model  string      `json:"model,omitempty"`
	Memory units.Bytes `json:"memory,omitempty"`
	Domain string      `json:"domain,omitempty"` // devices of one domain are joined by NVLink or its like; it may span nodes
	Watts  units.Watts `json:"watts,omitempty"`  // the most it draws above the node's idle draw
}

// Rack is nodes behind one uplink.
type Rack struct {
	Name   string              `json:"name" yaml:"name"`
	Uplink units.BitsPerSecond `json:"uplink,omitempty" yaml:"uplink,omitempty"` // 0 is not limited
}

// PowerCap bounds what all nodes and caps below it draw together: a rack's, a feed's, the site's.
type PowerCap struct {
	Name   string      `json:"name" yaml:"name"`
	Parent string      `json:"parent,omitempty" yaml:"parent,omitempty"` // the cap above it; none when empty
	Watts  units.Watts `json:"watts" yaml:"watts"`
}

// Validate refuses what no machine has.
func (n Node) Validate() error {
	const op = "fleet.Validate"
	switch {
	case n.Name == "":
		return errs.Errorf(op, errs.Invalid, "a node has no name")
	case !(n.CPU > 0) || n.CPU > 1e6:
		return errs.Errorf(op, errs.Invalid, "node %q has %v cores: give a positive number", n.Name, n.CPU)
	case n.Memory <= 0 || n.Disk < 0:
		return errs.Errorf(op, errs.Invalid, "node %q has %v of memory and %v of disk: give positive sizes", n.Name, n.Memory, n.Disk)
	case n.Storage < 0 || n.Bandwidth < 0:
		return errs.Errorf(op, errs.Invalid, "node %q has %v of storage and %v of bandwidth: give positive sizes, or none", n.Name, n.Storage, n.Bandwidth)
	case !(n.IdleWatts >= 0) || !(n.MaxWatts >= 0) || n.MaxWatts > 0 && n.MaxWatts < n.IdleWatts:
		return errs.Errorf(op, errs.Invalid, "node %q draws %v W idle of at most %v W: give positive watts, the most at least the idle draw", n.Name, n.IdleWatts, n.MaxWatts)
	}
	seen := map[string]bool{}
	for _, a := range n.Accelerators {
		if seen[a.ID] {
			return errs.Errorf(op, errs.Invalid, "node %q names accelerator %q twice", n.Name, a.ID)
		}
		if a.Memory < 0 || !(a.Watts >= 0) {
			return errs.Errorf(op, errs.Invalid, "accelerator %q of node %q has %v of memory and %v W: give positive numbers, or none", a.ID, n.Name, a.Memory, a.Watts)
		}
		seen[a.ID] = true
	}
	return nil
}

// Cordon is the intent that a node takes no new work.
type Cordon struct {
	Node   string    `json:"node"`
	By     string    `json:"by"` // user/admin, policy/fault
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Store keeps the intents.
type Store interface {
	PutCordon(ctx context.Context, c Cordon, events ...event.Event) error
	// DeleteCordon of a node that has none is errs.NotFound.
	DeleteCordon(ctx context.Context, node string, events ...event.Event) error
	ListCordons(ctx context.Context) ([]Cordon, error)
}

// Fleet is the machines as last reported, under the intents. Its methods may be called from any goroutine.
type Fleet struct {
	store Store
	clock clock.Clock

	mu      sync.Mutex
	site    Site
	nodes   map[string]Node
	cordons map[string]Cordon
}

// Open reads the intents; nodes are known when they are reported.
func Open(ctx context.Context, s Store, c clock.Clock) (*Fleet, error) {
	list, err := s.ListCordons(ctx)
	if err != nil {
		return nil, errs.E("fleet.Open", errs.Other, err)
	}
	f := &Fleet{store: s, clock: c, nodes: map[string]Node{}, cordons: map[string]Cordon{}}
	for _, c := range list {
		f.cordons[c.Node] = c
	}
	return f, nil
}

// Describe tells what people know of the hall; nodes that are reported from now on are joined with it.
func (f *Fleet) Describe(s Site) error {
	if err := s.Validate(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.site = s
	return nil
}

// Report takes the facts of a node, new or changed. Cordoned and Reason are not facts and are ignored.
func (f *Fleet) Report(n Node) error {
	f.mu.Lock()
	n = f.site.Join(n)
	f.mu.Unlock()
	if err := n.Validate(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n.Accelerators = slices.Clone(n.Accelerators)
	f.nodes[n.Name] = n
	return nil
}

// Forget removes a node that is gone; its cordon stays, so that it comes back as it left.
func (f *Fleet) Forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.nodes, name)
}

// Nodes is the snapshot, by name.
func (f *Fleet) Nodes() []Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Node, 0, len(f.nodes))
	for _, n := range f.nodes {
		c, cordoned := f.cordons[n.Name]
		n.Cordoned, n.Reason = cordoned, c.Reason
		n.Accelerators = slices.Clone(n.Accelerators)
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Cordon stops new work on a node. Cordoning again replaces the reason.
func (f *Fleet) Cordon(ctx context.Context, actor, node, reason string) error {
	const op = "fleet.Cordon"
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[node]
	if !ok {
		return unknown(op, node)
	}
	c := Cordon{Node: node, By: actor, Reason: reason, Since: f.clock.Now()}
	n.Cordoned, n.Reason = true, reason
	if err := f.store.PutCordon(ctx, c, event.New("fleet", "node.cordoned", "node/"+node, actor, n)); err != nil {
		return errs.E(op, errs.Other, err)
	}
	f.cordons[node] = c
	return nil
}

// Uncordon lets a node take work again. It may be called for a node that is not reported now.
func (f *Fleet) Uncordon(ctx context.Context, actor, node string) error {
	const op = "fleet.Uncordon"
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.cordons[node]; !ok {
		if _, known := f.nodes[node]; !known {
			return unknown(op, node)
		}
		return errs.Errorf(op, errs.Conflict, "node %q is not cordoned", node)
	}
	if err := f.store.DeleteCordon(ctx, node, event.New("fleet", "node.uncordoned", "node/"+node, actor, f.nodes[node])); err != nil {
		return errs.E(op, errs.Other, err)
	}
	delete(f.cordons, node)
	return nil
}

func unknown(op, node string) error {
	return errs.Errorf(op, errs.NotFound, "no node %q; `lineshaft fleet` lists them", node)
}

// String is the node in one line, for reasons.
func (n Node) String() string {
	s := fmt.Sprintf("%s (%v cores, %v memory", n.Name, n.CPU, n.Memory)
	if len(n.Accelerators) > 0 {
		s += fmt.Sprintf(", %d accelerators", len(n.Accelerators))
	}
	return s + ")"
}
