package control_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
)

// TestNoHistoryOfCrashesLosesAnActionOrDoesItTwice runs seeded histories of deaths, lost answers and crashes between any
// two steps, then lets the world settle.
func TestNoHistoryOfCrashesLosesAnActionOrDoesItTwice(t *testing.T) {
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 7))
		l := newLoop(t, newWorld(1+r.IntN(3)))
		var pending []control.Action
		for range 200 {
			switch r.IntN(6) {
			case 0:
				if i := r.IntN(len(l.tasks)); r.IntN(3) == 0 {
					l.die(i)
				}
			case 1:
				l.crash() // what was to be applied is forgotten with it
				pending = nil
			case 2, 3:
				l.now = l.now.Add(time.Duration(r.IntN(20_000)) * time.Millisecond)
			default:
				if len(pending) > 0 {
					done := l.applied(pending[0])
					pending = pending[1:]
					if r.IntN(3) == 0 { // applied, and the answer lost in a crash
						l.crash()
						pending = nil
						continue
					}
					pending = append(pending, l.step(done)...)
				}
			}
			pending = append(pending, l.step()...)
		}
		for _, a := range pending {
			l.step(l.applied(a))
		}
		for range 20 { // held actions are approved until everything runs
			l.tick(20 * time.Second)
			for id, a := range l.actions {
				if a.State == control.Proposed {
					for _, a := range l.step(control.Approved{ID: id, Actor: "user/ann"}) {
						l.step(l.applied(a))
					}
				}
			}
		}
		for dead, n := range l.starts {
			if n != 1 {
				t.Fatalf("seed %d: replica %s was restarted %d times", seed, dead, n)
			}
		}
		for _, task := range l.tasks {
			if task.State != "running" {
				t.Fatalf("seed %d: replica %d is %s in the end", seed, task.Index, task.State)
			}
		}
		for id, a := range l.actions {
			if a.State.Open() {
				t.Fatalf("seed %d: %s is %s in the end", seed, id, a.State)
			}
		}
	}
}
