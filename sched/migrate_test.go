package sched_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
)

func TestATaskMovesSoThatAnotherFits(t *testing.T) {
	m := sched.NewMover(sched.NewHall([]fleet.Node{node("n1", 8, "a"), node("n2", 8, "b")}, nil, nil, nil))
	place := func(id string, each sched.Ask, movable bool, most int) (string, []sched.Move) {
		d, moves := m.Place(gang(id, 0, 0, 1, each), movable, most)
		if len(d.Placements) == 0 {
			return "", moves
		}
		return d.Placements[0].Node, moves
	}
	if at, _ := place("any", sched.Ask{CPU: 1, Accelerators: 1}, true, 0); at != "n1" {
		t.Fatalf("any lies on %q", at)
	}
	bound := sched.Ask{CPU: 1, Accelerators: 1, Models: []string{"a"}}
	if at, _ := place("bound", bound, true, 0); at != "" {
		t.Fatalf("without a move bound lies on %q", at)
	}
	at, moves := place("bound", bound, false, 1)
	if at != "n1" || len(moves) != 1 || moves[0].From.Gang != "any" || moves[0].From.Node != "n1" || moves[0].To.Node != "n2" {
		t.Fatalf("bound lies on %q after %+v", at, moves)
	}
	m.Stop("any")
	if at, moves := place("again", bound, true, 4); at != "" {
		t.Fatalf("what may not move has moved: %q, %+v", at, moves)
	}
}

// runMover plays a history with moves, and holds every state against the naive model.
func runMover(t *testing.T, seed uint64, steps int) (moved int) {
	r := rand.New(rand.NewPCG(seed, 11))
	w := randomWorld(r)
	h := sched.NewHall(w.nodes, w.caps, nil, sched.MixOf([]sched.Ask{randomAsk(r), randomAsk(r), randomAsk(r)}))
	empty := h.State()
	m := sched.NewMover(h)
	w.racks = nil
	fixed := map[string]bool{}
	for step := range steps {
		if r.IntN(6) == 0 && len(w.held) > 0 {
			gone := w.held[r.IntN(len(w.held))].Gang
			m.Stop(gone)
			w.held = slices.DeleteFunc(w.held, func(p sched.Placement) bool { return p.Gang == gone })
			continue
		}
		if r.IntN(20) == 0 {
			mix := sched.MixOf([]sched.Ask{randomAsk(r), randomAsk(r)})
			h.Expect(mix)
			empty = sched.NewHall(w.nodes, w.caps, nil, mix).State()
		}
		g := randomGang(r, step)
		movable := r.IntN(4) > 0
		fixed[g.ID] = !movable
		before := h.State()
		d, moves := m.Place(g, movable, r.IntN(5))
		if len(d.Placements) == 0 && (len(moves) > 0 || h.State() != before) {
			t.Fatalf("seed %d, step %d: a refused gang left something behind", seed, step)
		}
		for _, v := range moves {
			i := slices.IndexFunc(w.held, func(p sched.Placement) bool { return reflect.DeepEqual(p, v.From) })
			if i < 0 || fixed[v.From.Gang] || v.From.Gang != v.To.Gang || v.From.Task != v.To.Task {
				t.Fatalf("seed %d, step %d: what moves is not what ran, or may not: %+v", seed, step, v)
			}
			w.held = slices.Delete(w.held, i, i+1)
		}
		for _, v := range moves {
			if fails := w.fails(w.node(v.To.Node), v.To.Ask); len(fails) > 0 {
				t.Fatalf("seed %d, step %d: %+v fails %v", seed, step, v, fails)
			}
			w.held = append(w.held, v.To)
		}
		if len(d.Placements) > 0 {
			if len(moves) > 0 {
				g.Tasks = g.Tasks[:len(d.Placements)] // of an elastic gang the least
			}
			if err := w.accept(g, d.Placements); err != nil {
				t.Fatalf("seed %d, step %d: after %d moves: %v", seed, step, len(moves), err)
			}
		}
		moved += len(moves)
	}
	if err := h.Check(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	for len(w.held) > 0 {
		gone := w.held[0].Gang
		m.Stop(gone)
		w.held = slices.DeleteFunc(w.held, func(p sched.Placement) bool { return p.Gang == gone })
	}
	if h.State() != empty {
		t.Fatalf("seed %d: everything is released and the hall is not as it was", seed)
	}
	return moved
}

func TestNoHistoryWithMovesLosesATaskOrGivesMoreThanThereIs(t *testing.T) {
	t.Parallel()
	moved := 0
	for seed := range uint64(200) {
		moved += runMover(t, seed, 40)
	}
	if moved < 50 {
		t.Fatal(fmt.Sprint(moved, " moves in all prove little"))
	}
}
