package control

import (
	"fmt"
	"time"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

// The verbs of a release.
const (
	advanceRelease  = "advance_release"   // a step up
	promoteRelease  = "promote_release"   // the candidate takes over
	rollBackRelease = "roll_back_release" // the stable version answers again
)

// ReleaseMove is what is done to the release of a model in service.
type ReleaseMove struct {
	Model     string  `json:"model"`
	Stable    int64   `json:"stable"`
	Candidate int64   `json:"candidate"`
	From      float64 `json:"from"` // percent
	To        float64 `json:"to"`
}

// Release is the reaction to what a canary is judged to be (serve/release): a candidate that is shown to be no worse goes a
// step up, at the last one it takes over, and one that is shown to be worse is rolled back. To roll back needs nobody's
// approval, for it gives back what answered before. What cannot be shown in the time allowed is held for a person.
func Release() Policy {
	return Policy{
		Name:    "release",
		About:   "gives a canary more of the requests while it is shown to be no worse, promotes it in the end, and rolls it back at once when it is shown to be worse",
		Default: Act,
		Memory:  10 * time.Minute,
		Propose: proposeReleases,
		Verify:  verifyRelease,
	}
}

func proposeReleases(s State) []Action {
	var out []Action
	for _, svc := range s.Services {
		r := svc.Release
		if r == nil || r.Verdict == nil || r.Verdict.Call == release.Wait {
			continue
		}
		out = append(out, releaseAction(s, svc.Model, *r))
	}
	return out
}

func releaseAction(s State, model string, r release.Release) Action {
	a := Action{
		Subject:   "service/" + model,
		Release:   &ReleaseMove{Model: model, Stable: r.Stable, Candidate: r.Candidate, From: r.Percent, To: 100},
		NotBefore: s.Now,
	}
	next, more := r.Next()
	what := fmt.Sprintf("%s: version %d takes over from %d", model, r.Candidate, r.Stable)
	a.Verb = promoteRelease
	switch call := r.Verdict.Call; {
	case call == release.RollBack:
		a.Verb, a.Return, a.Release.To = rollBackRelease, true, 0
		what = fmt.Sprintf("%s: version %d is rolled back, version %d answers all requests again", model, r.Candidate, r.Stable)
	case call == release.Advance, call == release.Hold && more && next < 100:
		a.Verb, a.Release.To = advanceRelease, next
		what = fmt.Sprintf("%s: version %d gets %v %% of the requests, not %v %%", model, r.Candidate, next, r.Percent)
	}
	a.ID = fmt.Sprintf("act_release_%s_%d_%d_%s_%v", model, r.Candidate, r.Since.Unix(), a.Verb, r.Percent)
	a.Reasons = append([]string{what}, r.Verdict.Reasons...)
	if r.Verdict.Call == release.Hold {
		a.Hold = true
		a.ID += "_ask"
		a.Reasons = append(a.Reasons, fmt.Sprintf("approve this to go on all the same, or `lineshaft rollout rollback %s`", model))
	}
	for _, t := range r.Verdict.Tests {
		a.Evidence = append(a.Evidence,
			Fact{t.Name + "_stable", fmt.Sprintf("%d of %d", t.Stable.Bad, t.Stable.Requests)},
			Fact{t.Name + "_candidate", fmt.Sprintf("%d of %d", t.Candidate.Bad, t.Candidate.Requests)},
			Fact{t.Name + "_evidence_of_worse", fmt.Sprintf("%.3g of %.3g", t.Evidence, t.Needed)})
	}
	return a
}

func verifyRelease(s State, a Action) (ActionState, string) {
	if s.Services == nil || a.Release == nil {
		return "", "" // serving has not been looked at yet
	}
	i := -1
	for n, svc := range s.Services {
		if svc.Model == a.Release.Model {
			i = n
		}
	}
	if i < 0 {
		return Failed, "overtaken: the model is no longer in service"
	}
	svc := s.Services[i]
	if done, how := releaseDone(svc, a); done && a.State == Applied {
		return Verified, how
	}
	if r := svc.Release; r == nil || r.Candidate != a.Release.Candidate || r.Percent != a.Release.From {
		return Failed, "overtaken: the release was ended or moved in another way"
	}
	return "", ""
}

// releaseDone says whether the service is as the action wanted it.
func releaseDone(svc serve.Service, a Action) (done bool, how string) {
	to, last := a.Release, svc.Last
	ended := func(o release.Outcome) bool {
		return svc.Release == nil && last != nil && last.Outcome == o && last.Release.Candidate == to.Candidate
	}
	switch a.Verb {
	case advanceRelease:
		return svc.Release != nil && svc.Release.Candidate == to.Candidate && svc.Release.Percent == to.To, fmt.Sprintf("version %d gets %v %% of the requests", to.Candidate, to.To)
	case promoteRelease:
		return ended(release.Promoted), fmt.Sprintf("version %d has taken over", to.Candidate)
	case rollBackRelease:
		return ended(release.RolledBack), fmt.Sprintf("version %d answers all requests again", to.Stable)
	}
	return false, ""
}
