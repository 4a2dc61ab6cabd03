package serve_test

import (
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/serve"
)

var (
	allStates = []serve.State{serve.Start, serve.Loading, serve.Available, serve.Unloading, serve.End}
	allCauses = []serve.Cause{serve.Begin, serve.Loaded, serve.Fail, serve.Drop, serve.Free}
)

func TestEveryTransitionIsInTheTableOnceAndNoOther(t *testing.T) {
	for _, from := range allStates {
		for _, on := range allCauses {
			var rows []serve.Transition
			for _, r := range serve.Transitions {
				if r.From == from && r.On == on {
					rows = append(rows, r)
				}
			}
			to, ok := from.After(on)
			switch {
			case len(rows) > 1:
				t.Errorf("%s by %s has %d rows", from, on, len(rows))
			case len(rows) == 1 && (!ok || to != rows[0].To), len(rows) == 0 && (ok || to != from):
				t.Errorf("%s by %s leads to %s, %v", from, on, to, ok)
			}
		}
	}
	for _, r := range serve.Transitions {
		if !slices.Contains(allStates, r.From) || !slices.Contains(allStates, r.To) || !slices.Contains(allCauses, r.On) {
			t.Errorf("%v names what does not exist", r)
		}
	}
}

func TestAVersionThatAnsweredEndsThroughUnloadingOnly(t *testing.T) {
	for _, on := range allCauses {
		if to, ok := serve.Available.After(on); ok && to != serve.Unloading {
			t.Errorf("AVAILABLE by %s leads to %s", on, to)
		}
		if to, ok := serve.End.After(on); ok {
			t.Errorf("END by %s leads to %s: a version that is back begins a new life", on, to)
		}
	}
}
