package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

func TestAWrongNameCostsAndSaysWhatAWrongPasswordDoes(t *testing.T) {
	w := newWorld(t)
	if err := w.SetDisabled(t.Context(), w.root, "vic", true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateUser(t.Context(), w.root, access.UserSpec{Name: "linkonly", Role: access.Viewer}); err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, name := range []string{"dev", "nobody", "vic", "linkonly", ""} {
		before := w.Hashes()
		_, _, _, err := w.SignIn(t.Context(), name, "wrong wrong wrong")
		wants(t, err, errs.Unauthenticated)
		if n := w.Hashes() - before; n != 1 {
			t.Errorf("%q cost %d hashes", name, n)
		}
		if said == "" {
			said = err.Error()
		}
		if err.Error() != said {
			t.Errorf("%q: %q, not %q", name, err, said)
		}
	}
}

func TestGuessingSlowsDownForKnownAndUnknownNamesAlike(t *testing.T) {
	for _, name := range []string{"dev", "nobody"} {
		w := newWorld(t)
		for range access.FreeGuesses {
			_, _, _, err := w.SignIn(t.Context(), name, "wrong wrong wrong")
			wants(t, err, errs.Unauthenticated)
		}
		waited := time.Duration(0)
		for range 10 {
			before := w.Hashes()
			_, _, _, err := w.SignIn(t.Context(), name, "wrong wrong wrong")
			wants(t, err, errs.Exhausted)
			if w.Hashes() != before {
				t.Error("a refused guess was hashed")
			}
			for errs.Is(err, errs.Exhausted) {
				w.clock.Advance(time.Second)
				waited += time.Second
				_, _, _, err = w.SignIn(t.Context(), name, "wrong wrong wrong")
			}
		}
		if want := (1 + 2 + 4 + 8 + 16 + 32 + 60*4) * time.Second; waited != want {
			t.Errorf("%s: ten guesses took %v, want %v", name, waited, want)
		}
		w.clock.Advance(time.Minute)
		_, _, _, err := w.SignIn(t.Context(), name, password)
		if good := name == "dev"; good != (err == nil) {
			t.Errorf("%s: after the wait, the right password gave %v", name, err)
		}
	}
}

func TestASuccessForgetsTheFailures(t *testing.T) {
	w := newWorld(t)
	for range 4 * access.FreeGuesses {
		_, _, _, err := w.SignIn(t.Context(), "dev", "wrong wrong wrong")
		wants(t, err, errs.Unauthenticated)
		w.as("dev")
	}
}

func TestManyGuessesAtOnceGainNothing(t *testing.T) {
	w := newWorld(t)
	before := w.Hashes()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, _, _, err := w.SignIn(t.Context(), "dev", "wrong wrong wrong"); err == nil {
				t.Error("signed in")
			}
		})
	}
	all.Wait()
	if n := w.Hashes() - before; n > access.FreeGuesses {
		t.Errorf("%d guesses were tried at once", n)
	}
}

func TestSignInsTogetherUseBoundedMemory(t *testing.T) {
	w := newWorld(t)
	release := w.HoldHashing()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	refused := make(chan error, access.HashQueue)
	for i := range access.HashQueue {
		all.Go(func() {
			_, _, _, err := w.SignIn(ctx, fmt.Sprint("u", i), password)
			refused <- err
		})
	}
	for w.Waiting() < access.HashQueue {
		runtime.Gosched()
	}
	_, _, _, err := w.SignIn(t.Context(), "dev", password)
	wants(t, err, errs.Exhausted)
	cancel()
	all.Wait()
	for range access.HashQueue {
		wants(t, <-refused, errs.Canceled)
	}
	release()
	w.as("dev")
}

func TestTheNamesThatAreGuessedAreBounded(t *testing.T) {
	w := newWorld(t)
	for i := range access.MaxGuesses + 100 {
		w.clock.Advance(time.Millisecond)
		if _, _, _, err := w.SignIn(t.Context(), fmt.Sprint("n", i), "x"); err == nil {
			t.Fatal("signed in")
		}
	}
	if n := w.Guessed(); n > access.MaxGuesses {
		t.Errorf("%d names are remembered", n)
	}
}

func TestALongPasswordCostsNoMoreThanAnother(t *testing.T) {
	w := newWorld(t)
	_, _, _, err := w.SignIn(t.Context(), "dev", strings.Repeat("x", 10<<20))
	wants(t, err, errs.Unauthenticated)
	_, _, _, err = w.SignIn(t.Context(), strings.Repeat("x", 10<<20), password)
	wants(t, err, errs.Unauthenticated)
}

func TestRefusalsAreCountedAndWrittenInBatches(t *testing.T) {
	w := newWorld(t)
	dev := w.as("dev")
	for range 1000 {
		w.clock.Advance(time.Millisecond)
		wants(t, w.Authorize(t.Context(), dev, "rotate", access.Resource{Type: "key"}), errs.Denied)
	}
	for i := range 2 * access.MaxRefusals {
		wants(t, w.Authorize(t.Context(), dev, "cancel", access.Resource{Type: "job", Name: fmt.Sprint(i), Owner: "eve"}), errs.Denied)
	}
	w.store.events = nil
	w.store.broken = errors.New("locked")
	if err := w.Flush(t.Context()); err == nil {
		t.Error("a flush that was not written gave no error")
	}
	w.store.broken = nil
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	type refused struct {
		Action string
		Count  int64
	}
	total, rotate := int64(0), int64(0)
	for _, e := range w.store.events {
		var d refused
		if err := json.Unmarshal(e.Data, &d); err != nil || e.Kind != "access.denied" {
			t.Fatalf("%s %s: %v", e.Kind, e.Data, err)
		}
		total += d.Count
		if d.Action == "rotate" && e.Actor == "user/dev" && e.Subject == "key/" {
			rotate = d.Count
		}
	}
	if n := len(w.store.events); n != access.MaxRefusals+1 || total != 1000+2*access.MaxRefusals || rotate != 1000 {
		t.Errorf("%d entries speak of %d refusals, %d of them of the keys", n, total, rotate)
	}
	w.store.events = nil
	if err := w.Flush(t.Context()); err != nil || len(w.store.events) != 0 {
		t.Errorf("a second flush wrote %v, %v", w.store.events, err)
	}
}

func TestRunWritesWhatIsLeftWhenItEnds(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	wants(t, w.Authorize(t.Context(), w.as("vic"), "create", access.Resource{Type: "job"}), errs.Denied)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if kinds := w.store.kinds(); kinds[len(kinds)-1] != "access.denied" {
		t.Errorf("wrote %v", kinds)
	}
}

func TestWithoutATokenOneGetsNothingButInADemonstration(t *testing.T) {
	w := newWorld(t)
	demo := access.New(access.Options{Store: w.store, Clock: w.clock, Hash: cheap, Demo: true})
	nobody := access.Anonymous()
	for _, action := range []string{"predict", "load", "read", "deploy", "export", "delete"} {
		r := access.Resource{Type: "model", Name: "mnist"}
		wants(t, w.Authorize(t.Context(), nobody, action, r), errs.Unauthenticated)
		err := demo.Authorize(t.Context(), nobody, action, r)
		if may := action == "predict" || action == "load" || action == "read"; may != (err == nil) {
			t.Errorf("in a demonstration, %s gave %v", action, err)
		}
	}
	wants(t, demo.Authorize(t.Context(), nobody, "create", access.Resource{Type: "job"}), errs.Unauthenticated)
	if nobody.Actor() != "anonymous" {
		t.Errorf("nobody is %q", nobody.Actor())
	}
}

func TestAccountsChangeWhileTheyAreUsed(t *testing.T) {
	w := newWorld(t)
	secret, _ := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 30 {
				if p, err := w.Authenticate(t.Context(), secret); err != nil {
					t.Error(err)
				} else if err := w.Authorize(t.Context(), p, "create", access.Resource{Type: "job"}); err != nil {
					t.Error(err)
				}
				g, err := w.Grant(t.Context(), w.root, access.Grant{User: "eve", Actions: []string{"read"}, Type: "audit", Name: fmt.Sprint(i, "-", n)})
				if err == nil {
					err = w.Revoke(t.Context(), w.root, g.ID)
				}
				if err := errors.Join(err, w.Flush(t.Context())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
