package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
)

func TestAnActionIsListedByItsTimeWhateverItsState(t *testing.T) {
	s := fresh(t)
	for i, id := range []string{"act_b", "act_a", "act_c"} {
		at := start.Add(time.Duration(i) * time.Minute)
		a := control.Action{ID: id, Time: at, Changed: at, State: control.Decided, Reasons: []string{"because"}}
		if err := s.PutAction(t.Context(), a, event.New("actions", "action.decided", "action/"+id, "policy/restart", a)); err != nil {
			t.Fatal(err)
		}
	}
	done := control.Action{ID: "act_b", Time: start, Changed: start.Add(time.Hour), State: control.Verified}
	if err := s.PutAction(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    control.Filter
		want string
	}{
		"all":            {control.Filter{}, "act_c act_a act_b "},
		"open":           {control.Filter{Open: true}, "act_c act_a "},
		"changed lately": {control.Filter{Since: start.Add(2 * time.Minute)}, "act_c act_b "},
		"the newest":     {control.Filter{Limit: 1}, "act_c "},
	} {
		list, err := s.ListActions(t.Context(), c.f)
		got := ""
		for _, a := range list {
			got += a.ID + " "
		}
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestOldActionsAreForgottenWhenManyNewerAreThereButForOpenOnes(t *testing.T) {
	s, db := logged(t)
	put := func(id string, at time.Duration, state control.ActionState) {
		t.Helper()
		if err := s.PutAction(t.Context(), control.Action{ID: id, Time: start.Add(at), Changed: start.Add(at), State: state}); err != nil {
			t.Fatal(err)
		}
	}
	put("act_closed", 0, control.Verified)
	put("act_open", 0, control.Proposed)
	if _, err := db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
		INSERT INTO actions (id, at, changed, live, body) SELECT 'act_' || i, $1 + i, $1 + i, 0, '{"state":"verified"}' FROM n`, start.Add(time.Second).UnixNano()); err != nil {
		t.Fatal(err)
	}
	put("act_kept", time.Minute, control.Failed)
	list, err := s.ListActions(t.Context(), control.Filter{})
	if err != nil || len(list) != 10_001 || list[0].ID != "act_kept" || list[10_000].ID != "act_open" {
		t.Errorf("%d actions, %v", len(list), err)
	}
}

func TestModesAndCordonsOutliveTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	for _, m := range []control.Mode{control.Act, control.Off} {
		if err := s.PutMode(t.Context(), "restart", m); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fleet.Open(t.Context(), s, clock.NewFake(start))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Report(fleet.Node{Name: "here", CPU: 1, Memory: 1}); err != nil {
		t.Fatal(err)
	}
	if err := f.Cordon(t.Context(), "user/ann", "here", "fan"); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = open(t, path)
	if modes, err := s.Modes(t.Context()); err != nil || len(modes) != 1 || modes["restart"] != control.Off {
		t.Errorf("modes are %v, %v", modes, err)
	}
	list, err := s.ListCordons(t.Context())
	if err != nil || len(list) != 1 || list[0] != (fleet.Cordon{Node: "here", By: "user/ann", Reason: "fan", Since: start}) {
		t.Errorf("cordons are %v, %v", list, err)
	}
	if err := s.DeleteCordon(t.Context(), "here"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteCordon(t.Context(), "here"); !errs.Is(err, errs.NotFound) {
		t.Errorf("deleting no cordon gave %v", err)
	}
}
