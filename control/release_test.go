package control_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

// canary is a model in service whose release is judged so.
func canary(percent float64, call release.Call) serve.Service {
	return serve.Service{Model: "mnist", Release: &release.Release{
		Mode: release.Canary, Stable: 3, Candidate: 4, Percent: percent, Steps: release.DefaultSteps[:], Since: start,
		Verdict: &release.Verdict{Call: call, Reasons: []string{"9 of 9 requests failed"}},
	}}
}

func ended(o release.Outcome) serve.Service {
	return serve.Service{Model: "mnist", Last: &release.Ended{Release: release.Release{Candidate: 4, Stable: 3}, Outcome: o}}
}

// follow steps a core over services and lists what became of actions, and what was applied.
func follow(t *testing.T, mode control.Mode, services ...serve.Service) (log []string) {
	t.Helper()
	core := control.NewCore([]control.Policy{control.Release()}, map[string]control.Mode{"release": mode}, nil)
	now := start
	var answers []control.Input
	for _, svc := range services {
		now = now.Add(time.Second)
		inputs := append([]control.Input{control.Seen{}, control.Served{Services: []serve.Service{svc}}}, answers...)
		answers = nil
		for _, e := range core.Step(now, inputs...) {
			switch e := e.(type) {
			case control.SaveAction:
				log = append(log, e.Action.Verb+" "+string(e.Action.State))
			case control.Apply:
				answers = append(answers, control.Done{ID: e.Action.ID})
				log = append(log, "apply "+e.Action.Verb)
			}
		}
	}
	return log
}

func TestAVerdictIsCarriedOutOnceAndVerified(t *testing.T) {
	for _, c := range []struct {
		name     string
		mode     control.Mode
		services []serve.Service
		want     string
	}{
		{
			"a step up", control.Act,
			[]serve.Service{canary(5, release.Advance), canary(5, release.Advance), canary(25, release.Wait), canary(25, release.Wait)},
			"advance_release proposed, advance_release decided, apply advance_release, advance_release applied, advance_release verified",
		},
		{
			"the last step", control.Act,
			[]serve.Service{canary(50, release.Promote), ended(release.Promoted), ended(release.Promoted)},
			"promote_release proposed, promote_release decided, apply promote_release, promote_release applied, promote_release verified",
		},
		{
			"back, though a person decides what goes up", control.Advise,
			[]serve.Service{canary(25, release.RollBack), ended(release.RolledBack), ended(release.RolledBack)},
			"roll_back_release proposed, roll_back_release decided, apply roll_back_release, roll_back_release applied, roll_back_release verified",
		},
		{"up waits for a person", control.Advise, []serve.Service{canary(25, release.Advance), canary(25, release.Advance)}, "advance_release proposed"},
		{
			"time is up, and a person rolls back", control.Act,
			[]serve.Service{canary(25, release.Hold), canary(25, release.Hold), ended(release.RolledBack)},
			"advance_release proposed, advance_release failed",
		},
		{"nothing is shown", control.Act, []serve.Service{canary(25, release.Wait)}, ""},
		{"off", control.Off, []serve.Service{canary(25, release.RollBack)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(follow(t, c.mode, c.services...), ", "); got != c.want {
				t.Errorf("\n%s, not\n%s", got, c.want)
			}
		})
	}
}

func TestWhatAVerdictRestsOnIsInTheAction(t *testing.T) {
	svc := canary(25, release.Hold)
	svc.Release.Verdict.Tests = []release.Test{{Name: "errors", Stable: release.Tally{Requests: 90}, Candidate: release.Tally{Requests: 9, Bad: 9}, Evidence: 1e6, Needed: 40}}
	all := control.Release().Propose(control.State{Now: start, Services: []serve.Service{svc}})
	if len(all) != 1 {
		t.Fatal(all)
	}
	a := all[0]
	if !a.Hold || *a.Release != (control.ReleaseMove{Model: "mnist", Stable: 3, Candidate: 4, From: 25, To: 50}) {
		t.Errorf("%+v", a)
	}
	text := strings.Join(a.Reasons, "\n")
	if !strings.Contains(text, "version 4 gets 50 % of the requests, not 25 %") || !strings.Contains(text, "9 of 9 requests failed") || !strings.Contains(text, "approve this") {
		t.Error(text)
	}
	if !slices.Contains(a.Evidence, control.Fact{Name: "errors_candidate", Value: "9 of 9"}) {
		t.Error(a.Evidence)
	}
}

func TestNothingIsSaidOfReleasesBeforeServingIsKnown(t *testing.T) {
	a := control.Action{State: control.Applied, Verb: "advance_release", Release: &control.ReleaseMove{Model: "mnist"}}
	if to, how := control.Release().Verify(control.State{Now: start}, a); to != "" {
		t.Errorf("%s: %s", to, how)
	}
}
