package serve_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
)

func want(t *testing.T, m *serve.Manager, versions ...int64) map[int64]error {
	t.Helper()
	failed, err := m.Want(context.Background(), "folder", "m", versions, "no version is in the folder")
	if err != nil {
		t.Fatal(err)
	}
	return failed
}

func TestWantBringsASetOfVersionsAndTakesTheOthersOut(t *testing.T) {
	w := newWorld(9)
	m := newManager(t, w)
	want(t, m, 1, 2)
	if got := answer(t, m, 0, ""); got != 2 {
		t.Errorf("version %d answers", got)
	}
	w.set(func() { w.aliases["old"] = 2 })
	want(t, m, 3, 2)
	if got := states(t, m); got != "3 AVAILABLE , 2 AVAILABLE old, 1 END " {
		t.Error(got)
	}
	if n := len(w.loads); n != 3 {
		t.Errorf("%d loads: %v", n, w.loads)
	}
}

func TestWhatCannotBeLoadedIsToldAndWhatAnsweredGoesOn(t *testing.T) {
	w := newWorld(9)
	m := newManager(t, w)
	w.broken[1], w.broken[2] = errors.New("half a file"), errors.New("panic")
	failed := want(t, m, 1)
	if len(failed) != 1 || failed[1] == nil {
		t.Error(failed)
	}
	refused(t, m, 0, "", errs.Unavailable, "m:1 could not be loaded: half a file")
	want(t, m, 3)
	if failed := want(t, m, 1, 2, 10); len(failed) != 3 || !errs.Is(failed[10], errs.NotFound) {
		t.Error(failed)
	}
	if got := answer(t, m, 0, ""); got != 3 {
		t.Errorf("version %d answers", got)
	}
	want(t, m, 2, 4)
	if got := states(t, m); got != "4 AVAILABLE , 3 END , 2 END , 1 END " {
		t.Error(got)
	}
}

func TestAnEmptySetLeavesTheModelWithItsReason(t *testing.T) {
	w := newWorld(2)
	m := newManager(t, w)
	want(t, m)
	refused(t, m, 0, "", errs.Unavailable, "no version is in the folder")
	want(t, m, 1)
	want(t, m)
	refused(t, m, 0, "", errs.Unavailable, "no version is in the folder")
	if got := states(t, m); got != "1 END " {
		t.Error(got)
	}
}

func TestAnotherArtifactUnderTheSameNumberTakesOver(t *testing.T) {
	w := newWorld(2)
	m := newManager(t, w)
	want(t, m, 1, 2)
	held, err := m.Acquire("m", 2, "")
	if err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.edition = " anew" })
	want(t, m, 1, 2)
	if y, err := ask(held); err != nil || y != 2 {
		t.Errorf("the old one was freed under a request: %v, %v", y, err)
	}
	held.Release()
	if got := answer(t, m, 2, ""); got != 2 || len(w.loads) != 4 {
		t.Errorf("version %d, loads %v", got, w.loads)
	}
	w.set(func() { w.edition = " broken"; w.broken[2] = errors.New("no") })
	if failed := want(t, m, 2); failed[2] == nil {
		t.Error("a broken artifact is not told")
	}
	if got := answer(t, m, 0, ""); got != 2 {
		t.Errorf("version %d answers", got)
	}
}
