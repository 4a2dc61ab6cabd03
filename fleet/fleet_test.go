package fleet_test

import (
	"context"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
)

// memory keeps intents and the events they came with.
type memory struct {
	cordons map[string]fleet.Cordon
	events  []event.Event
	broken  error
}

func (m *memory) PutCordon(_ context.Context, c fleet.Cordon, e ...event.Event) error {
	if m.broken != nil {
		return m.broken
	}
	m.cordons[c.Node], m.events = c, append(m.events, e...)
	return nil
}

func (m *memory) DeleteCordon(_ context.Context, node string, e ...event.Event) error {
	if m.broken != nil {
		return m.broken
	}
	delete(m.cordons, node)
	m.events = append(m.events, e...)
	return nil
}

func (m *memory) ListCordons(context.Context) ([]fleet.Cordon, error) {
	var out []fleet.Cordon
	for _, c := range m.cordons {
		out = append(out, c)
	}
	return out, m.broken
}

func open(t *testing.T, m *memory) *fleet.Fleet {
	t.Helper()
	f, err := fleet.Open(t.Context(), m, clock.NewFake(time.Unix(1000, 0)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n2", "n1"} {
		if err := f.Report(fleet.Node{Name: name, CPU: 4, Memory: units.GiB}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestACordonOutlivesTheServerAndTheNode(t *testing.T) {
	m := &memory{cordons: map[string]fleet.Cordon{}}
	f := open(t, m)
	if err := f.Cordon(t.Context(), "user/admin", "n1", "fan"); err != nil {
		t.Fatal(err)
	}
	f.Forget("n1")
	f = open(t, m)
	nodes := f.Nodes()
	if len(nodes) != 2 || nodes[0].Name != "n1" || !nodes[0].Cordoned || nodes[0].Reason != "fan" || nodes[1].Cordoned {
		t.Fatalf("nodes after a restart: %+v", nodes)
	}
	if err := f.Uncordon(t.Context(), "user/admin", "n1"); err != nil {
		t.Fatal(err)
	}
	if f.Nodes()[0].Cordoned || len(m.cordons) != 0 {
		t.Fatal("n1 is still cordoned")
	}
	if len(m.events) != 2 || m.events[0].Kind != "node.cordoned" || m.events[1].Subject != "node/n1" {
		t.Fatalf("events: %+v", m.events)
	}
}

func TestAnIntentThatWasNotWrittenDownDoesNotHold(t *testing.T) {
	m := &memory{cordons: map[string]fleet.Cordon{}}
	f := open(t, m)
	m.broken = errs.Errorf("test", errs.Exhausted, "the disk is full")
	if err := f.Cordon(t.Context(), "user/admin", "n1", "fan"); !errs.Is(err, errs.Exhausted) {
		t.Fatalf("cordon on a full disk: %v", err)
	}
	if f.Nodes()[0].Cordoned {
		t.Fatal("n1 is cordoned though the store refused")
	}
}

func TestWrongNodesAreRefusedInWords(t *testing.T) {
	f := open(t, &memory{cordons: map[string]fleet.Cordon{}})
	if err := f.Cordon(t.Context(), "user/admin", "n9", ""); !errs.Is(err, errs.NotFound) {
		t.Fatalf("cordon of an unknown node: %v", err)
	}
	if err := f.Uncordon(t.Context(), "user/admin", "n9"); !errs.Is(err, errs.NotFound) {
		t.Fatalf("uncordon of an unknown node: %v", err)
	}
	if err := f.Uncordon(t.Context(), "user/admin", "n1"); !errs.Is(err, errs.Conflict) {
		t.Fatalf("uncordon of a free node: %v", err)
	}
	twice := []fleet.Accelerator{{ID: "0"}, {ID: "0"}}
	for _, n := range []fleet.Node{{CPU: 1, Memory: 1}, {Name: "a", Memory: 1}, {Name: "a", CPU: 1}, {Name: "a", CPU: 1, Memory: 1, Accelerators: twice}} {
		if err := f.Report(n); !errs.Is(err, errs.Invalid) {
			t.Errorf("node %+v is taken: %v", n, err)
		}
	}
}
