package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Site is what of the hall no machine can tell of itself: where it stands, which feed it hangs on, what it draws. People
// write it down; it is joined to what executors report.
type Site struct {
	Racks []Rack      `json:"racks,omitempty" yaml:"racks,omitempty"`
	Caps  []PowerCap  `json:"caps,omitempty" yaml:"caps,omitempty"`
	Nodes []NodeFacts `json:"nodes,omitempty" yaml:"nodes,omitempty"`
}

// NodeFacts are of one node. What is zero is not known.
type NodeFacts struct {
	Name         string              `json:"name" yaml:"name"`
	Rack         string              `json:"rack,omitempty" yaml:"rack,omitempty"`
	Feed         string              `json:"feed,omitempty" yaml:"feed,omitempty"` // the power cap right above it
	IdleWatts    units.Watts         `json:"idle_watts,omitempty" yaml:"idle-watts,omitempty"`
	MaxWatts     units.Watts         `json:"max_watts,omitempty" yaml:"max-watts,omitempty"` // idle draw included
	Bandwidth    units.BitsPerSecond `json:"bandwidth,omitempty" yaml:"bandwidth,omitempty"`
	Storage      units.Bytes         `json:"storage,omitempty" yaml:"storage,omitempty"`
	Accelerators []DeviceFacts       `json:"accelerators,omitempty" yaml:"accelerators,omitempty"`
}

// DeviceFacts are of some accelerators of a node.
type DeviceFacts struct {
	IDs    []string    `json:"ids,omitempty" yaml:"ids,omitempty"` // all of the node's when empty
	Kind   string      `json:"kind,omitempty" yaml:"kind,omitempty"`
	Domain string      `json:"domain,omitempty" yaml:"domain,omitempty"`
	Watts  units.Watts `json:"watts,omitempty" yaml:"watts,omitempty"` // the most one draws above the node's idle draw
}

// Kinds are the kinds of accelerator.
func Kinds() []string { return []string{"gpu", "npu", "tpu"} }

// Validate refuses what no hall is: names that are there twice or not at all, caps above themselves, power that is no
// positive number. Each error begins with the key.
func (s Site) Validate() error {
	racks, err := named("racks", s.Racks, func(r Rack) string { return r.Name })
	if err != nil {
		return err
	}
	caps, err := named("caps", s.Caps, func(c PowerCap) string { return c.Name })
	if err != nil {
		return err
	}
	if _, err := named("nodes", s.Nodes, func(n NodeFacts) string { return n.Name }); err != nil {
		return err
	}
	for i, r := range s.Racks {
		if r.Uplink < 0 {
			return wrong("racks", i, r.Name, "uplink: %d bit/s: give a positive bandwidth, or none where the uplink is not limited", r.Uplink)
		}
	}
	for i, c := range s.Caps {
		switch {
		case !(c.Watts > 0) || c.Watts > 1e12:
			return wrong("caps", i, c.Name, "watts: %v: give a positive power, for example 6.5kW", float64(c.Watts))
		case c.Parent != "" && !slices.Contains(caps, c.Parent):
			return wrong("caps", i, c.Name, "parent: there is no cap %q; there are %s", c.Parent, strings.Join(caps, ", "))
		}
	}
	if err := s.circle(); err != nil {
		return err
	}
	for i, n := range s.Nodes {
		if err := n.validate(i, racks, caps); err != nil {
			return err
		}
	}
	return nil
}

// circle refuses a cap that is above itself.
func (s Site) circle() error {
	parent := map[string]string{}
	for _, c := range s.Caps {
		parent[c.Name] = c.Parent
	}
	for i, c := range s.Caps {
		path := []string{c.Name}
		for up := c.Parent; up != ""; up = parent[up] {
			if path = append(path, up); up == c.Name {
				return wrong("caps", i, c.Name, "parent: the cap is above itself (%s): give one of them another parent, or none", strings.Join(path, " under "))
			}
			if len(path) > len(s.Caps) {
				break // a circle that this cap only leads to; it is told of one that is on it
			}
		}
	}
	return nil
}

func (n NodeFacts) validate(i int, racks, caps []string) error {
	const key = "nodes"
	switch {
	case n.Rack != "" && !slices.Contains(racks, n.Rack):
		return wrong(key, i, n.Name, "rack: there is no rack %q; %s", n.Rack, thereAre("racks", racks))
	case n.Feed != "" && !slices.Contains(caps, n.Feed):
		return wrong(key, i, n.Name, "feed: there is no cap %q; %s", n.Feed, thereAre("caps", caps))
	case !(n.IdleWatts >= 0) || !(n.MaxWatts >= 0) || n.IdleWatts > 1e12 || n.MaxWatts > 1e12:
		return wrong(key, i, n.Name, "idle-watts %v and max-watts %v: give positive numbers, or none", float64(n.IdleWatts), float64(n.MaxWatts))
	case n.MaxWatts > 0 && n.MaxWatts < n.IdleWatts:
		return wrong(key, i, n.Name, "max-watts: %v is less than the idle draw of %v, which it includes", n.MaxWatts, n.IdleWatts)
	case n.Bandwidth < 0 || n.Storage < 0:
		return wrong(key, i, n.Name, "bandwidth and storage: give positive sizes, or none")
	}
	seen := map[string]bool{}
	for k, d := range n.Accelerators {
		switch {
		case d.Kind != "" && !slices.Contains(Kinds(), d.Kind):
			return wrong(key, i, n.Name, "accelerators[%d].kind: there is no kind %q; there are %s", k, d.Kind, strings.Join(Kinds(), ", "))
		case !(d.Watts >= 0) || d.Watts > 1e12:
			return wrong(key, i, n.Name, "accelerators[%d].watts: %v: give a positive power, or none", k, float64(d.Watts))
		case len(n.Accelerators) > 1 && len(d.IDs) == 0:
			return wrong(key, i, n.Name, "accelerators[%d].ids: name the devices; only a single entry speaks of all of the node's", k)
		}
		for _, id := range d.IDs {
			if seen[id] {
				return wrong(key, i, n.Name, "accelerators[%d].ids: device %q is named twice", k, id)
			}
			seen[id] = true
		}
	}
	return nil
}

// named are the names of a list, each given and given once.
func named[T any](key string, list []T, name func(T) string) ([]string, error) {
	at := map[string]int{}
	for i, v := range list {
		n := name(v)
		if n == "" || strings.TrimSpace(n) != n || len(n) > 128 || strings.ContainsAny(n, ",\n\t") {
			return nil, wrong(key, i, n, "name: %.140q: give a name without commas and without spaces at its ends, of 128 bytes at most", n)
		}
		if first, twice := at[n]; twice {
			return nil, wrong(key, i, n, "name: %s[%d] is named so too: give each its own name", key, first)
		}
		at[n] = i
	}
	return slices.Sorted(maps.Keys(at)), nil
}

// wrong says which entry of a list is not in order.
func wrong(list string, i int, name, format string, args ...any) error {
	return errs.Errorf("fleet.Site", errs.Invalid, "%s[%d] (%.140s): %s", list, i, name, fmt.Sprintf(format, args...))
}

func thereAre(what string, names []string) string {
	if len(names) == 0 {
		return "the site lists no " + what
	}
	return "there are " + strings.Join(names, ", ")
}

// Join is the node as reported with what the site knows of it. What the node itself tells goes before.
func (s Site) Join(n Node) Node {
	i := slices.IndexFunc(s.Nodes, func(f NodeFacts) bool { return f.Name == n.Name })
	if i < 0 {
		return n
	}
	f := s.Nodes[i]
	n.Rack, n.Feed = either(n.Rack, f.Rack), either(n.Feed, f.Feed)
	n.IdleWatts, n.MaxWatts = either(n.IdleWatts, f.IdleWatts), either(n.MaxWatts, f.MaxWatts)
	n.Bandwidth, n.Storage = either(n.Bandwidth, f.Bandwidth), either(n.Storage, f.Storage)
	n.Accelerators = slices.Clone(n.Accelerators)
	for k := range n.Accelerators {
		a := &n.Accelerators[k]
		for _, d := range f.Accelerators {
			if len(d.IDs) == 0 || slices.Contains(d.IDs, a.ID) {
				a.Kind, a.Domain, a.Watts = either(a.Kind, d.Kind), either(a.Domain, d.Domain), either(a.Watts, d.Watts)
			}
		}
	}
	return n
}

func either[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}
