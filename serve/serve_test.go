package serve_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

func newManager(t *testing.T, w *world, edit ...func(*serve.Options)) *serve.Manager {
	t.Helper()
	o := serve.Options{Store: w, Models: w, Runtime: w, Clock: clock.NewFake(start)}
	for _, e := range edit {
		e(&o)
	}
	m := serve.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := w.inMemory.Load(); n != 0 {
			t.Errorf("%d versions are left in memory", n)
		}
	})
	<-m.Restored()
	return m
}

func deploy(t *testing.T, m *serve.Manager, version int64) serve.Service {
	t.Helper()
	s, err := m.Deploy(context.Background(), "user/ann", "m", version)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask gives what a lease answers.
func ask(l serve.Lease) (float32, error) {
	c := serve.Call{In: []tensor.Tensor{tensor.Float32s([]float32{0}, 1, 1)}}
	if err := l.Run(context.Background(), &c); err != nil {
		return 0, err
	}
	return c.Out[0].Float32s()[0], nil
}

// answer is which version answers.
func answer(t *testing.T, m *serve.Manager, version int64, label string) int64 {
	t.Helper()
	l, err := m.Acquire("m", version, label)
	if err != nil {
		t.Fatalf("version %d, label %q: %v", version, label, err)
	}
	defer l.Release()
	y, err := ask(l)
	if err != nil {
		t.Fatal(err)
	}
	if int64(y) != l.Version() {
		t.Errorf("the lease is of version %d, version %v answers", l.Version(), y)
	}
	return l.Version()
}

func refused(t *testing.T, m *serve.Manager, version int64, label string, kind errs.Kind, says string) {
	t.Helper()
	l, err := m.Acquire("m", version, label)
	if err == nil {
		l.Release()
	}
	if !errs.Is(err, kind) || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("version %d, label %q: %v; want kind %v saying %q", version, label, err, kind, says)
	}
}

// states waits until no version is on its way and lists version and state.
func states(t *testing.T, m *serve.Manager) string {
	t.Helper()
	for {
		s, err := m.Get("m")
		if err != nil {
			return err.Error()
		}
		var all []string
		settled := true
		for _, v := range s.Versions {
			settled = settled && (v.State == serve.Available || v.State == serve.End)
			all = append(all, fmt.Sprintf("%d %s %s", v.Version, v.State, strings.Join(v.Labels, "+")))
		}
		if settled {
			return strings.Join(all, ", ")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDeployReplacesWhatAnswered(t *testing.T) {
	w := newWorld(3)
	m := newManager(t, w)
	refused(t, m, 0, "", errs.NotFound, "lineshaft deploy m")
	s := deploy(t, m, 1)
	if s.Default != 1 || s.Versions[0].State != serve.Available || !s.Versions[0].Loaded.Equal(start) {
		t.Errorf("%+v", s)
	}
	deploy(t, m, 0) // the newest
	if got := answer(t, m, 0, ""); got != 3 {
		t.Errorf("version %d answers", got)
	}
	if got := states(t, m); got != "3 AVAILABLE , 1 END " {
		t.Error(got)
	}
	refused(t, m, 1, "", errs.NotFound, "versions: 3")
	deploy(t, m, 2) // back to a lower one: it answers although 3 was there
	if got := answer(t, m, 0, ""); got != 2 {
		t.Errorf("version %d answers after going back", got)
	}
	want := []string{"service.deployed service/m user/ann", "service.deployed service/m user/ann", "service.deployed service/m user/ann"}
	if got := w.kinds(); !slices.Equal(got, want) {
		t.Errorf("events %q", got)
	}
}

func TestAddServesBesideAndKeepsTheNewest(t *testing.T) {
	w := newWorld(9)
	m := newManager(t, w)
	deploy(t, m, 1)
	for n := int64(4); n <= 7; n++ {
		v, _ := w.Resolve(context.Background(), "m", n, "")
		if _, err := m.Add(context.Background(), "anonymous", v); err != nil {
			t.Fatal(err)
		}
		if got := answer(t, m, 0, ""); got != n {
			t.Errorf("version %d answers after %d was added", got, n)
		}
	}
	if got := states(t, m); got != "7 AVAILABLE , 6 AVAILABLE , 5 END , 4 END , 1 AVAILABLE " {
		t.Error(got)
	}
	v, _ := w.Resolve(context.Background(), "m", 2, "")
	if _, err := m.Add(context.Background(), "anonymous", v); err != nil || answer(t, m, 0, "") != 7 {
		t.Errorf("adding an old version: %v", err)
	}
	deploy(t, m, 6)
	if got := answer(t, m, 0, ""); got != 6 {
		t.Errorf("version %d answers after 6 was deployed", got)
	}
}

func TestAModelMayBeginWithAnAddedVersion(t *testing.T) {
	w := newWorld(2)
	m := newManager(t, w)
	v, _ := w.Resolve(context.Background(), "m", 2, "")
	s, err := m.Add(context.Background(), "anonymous", v)
	if err != nil || s.Version != 0 || s.Default != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAnAliasAnswersAsALabelAndFollowsWhenItMoves(t *testing.T) {
	w := newWorld(3)
	w.aliases["prod"] = 1
	m := newManager(t, w)
	m.SyncAliases(context.Background(), "m") // of a model that is not in service: nothing
	deploy(t, m, 2)
	if a, b := answer(t, m, 0, "prod"), answer(t, m, 0, ""); a != 1 || b != 2 {
		t.Errorf("prod %d, default %d", a, b)
	}
	refused(t, m, 0, "beta", errs.Invalid, "labels: prod")
	w.set(func() { w.aliases["prod"], w.aliases["beta"] = 3, 3 })
	m.SyncAliases(context.Background(), "m")
	if a, b, c := answer(t, m, 0, "prod"), answer(t, m, 0, "beta"), answer(t, m, 0, ""); a != 3 || b != 3 || c != 2 {
		t.Errorf("prod %d, beta %d, default %d: moving an alias must not move the default", a, b, c)
	}
	if got := states(t, m); got != "3 AVAILABLE beta+prod, 2 AVAILABLE , 1 END " {
		t.Error(got)
	}
	w.set(func() { clear(w.aliases) })
	m.SyncAliases(context.Background(), "m")
	refused(t, m, 0, "prod", errs.Invalid, "labels: none")
	if got := states(t, m); got != "3 END , 2 AVAILABLE , 1 END " {
		t.Error(got)
	}
}

func TestALabelGoesOnAnsweringWhenItsNewVersionCannotBeLoaded(t *testing.T) {
	w := newWorld(3)
	w.aliases["prod"] = 1
	w.broken[3] = errors.New("layer \"attention\" is not known")
	m := newManager(t, w)
	deploy(t, m, 2)
	w.set(func() { w.aliases["prod"] = 3 })
	m.SyncAliases(context.Background(), "m")
	if got := answer(t, m, 0, "prod"); got != 1 {
		t.Errorf("prod is answered by %d", got)
	}
	if got := states(t, m); got != "3 END , 2 AVAILABLE , 1 AVAILABLE prod" {
		t.Error(got)
	}
}

func TestAVersionThatCannotBeLoadedChangesNothing(t *testing.T) {
	w := newWorld(4)
	w.broken[2] = errors.New("layer \"attention\" is not known")
	w.broken[3] = errors.New("panic")
	m := newManager(t, w)
	if _, err := m.Deploy(context.Background(), "user/ann", "m", 2); err == nil || !strings.Contains(err.Error(), "attention") {
		t.Errorf("%v", err)
	}
	refused(t, m, 0, "", errs.NotFound, "no model")
	deploy(t, m, 1)
	for n, says := range map[int64]string{2: "attention", 3: "a hole in the file"} {
		if _, err := m.Deploy(context.Background(), "user/ann", "m", n); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("version %d: %v", n, err)
		}
		if got := answer(t, m, 0, ""); got != 1 {
			t.Errorf("version %d answers", got)
		}
	}
	if s, _ := m.Get("m"); s.Version != 1 || !strings.Contains(s.Versions[1].Error, "attention") {
		t.Errorf("%+v", s)
	}
	if w.records["m"].Version != 1 || !slices.Contains(w.kinds(), "service.failed service/m user/ann") {
		t.Errorf("%+v %q", w.records, w.kinds())
	}
	w.set(func() { delete(w.broken, 2) })
	deploy(t, m, 2)
	if got := states(t, m); got != "3 END , 2 AVAILABLE , 1 END " {
		t.Errorf("after it was mended: %s", got)
	}
}

func TestWhatCannotBeRecordedIsNotServed(t *testing.T) {
	w := newWorld(2)
	m := newManager(t, w)
	w.full = errs.Errorf("test", errs.Full, "the disk is full")
	if _, err := m.Deploy(context.Background(), "user/ann", "m", 1); !errs.Is(err, errs.Full) {
		t.Errorf("%v", err)
	}
	refused(t, m, 0, "", errs.NotFound, "no model")
	w.set(func() { w.full = nil })
	deploy(t, m, 1)
	w.set(func() { w.full = errs.Errorf("test", errs.Full, "the disk is full") })
	if _, err := m.Deploy(context.Background(), "user/ann", "m", 2); !errs.Is(err, errs.Full) {
		t.Errorf("%v", err)
	}
	if got := answer(t, m, 0, ""); got != 1 || states(t, m) != "2 END , 1 AVAILABLE " {
		t.Errorf("version %d answers: %s", got, states(t, m))
	}
}

func TestUndeployFreesEverythingAndMayBeFollowedByDeploy(t *testing.T) {
	w := newWorld(2)
	w.aliases["prod"] = 2
	m := newManager(t, w)
	deploy(t, m, 1)
	if err := m.Undeploy(context.Background(), "user/ann", "m"); err != nil {
		t.Fatal(err)
	}
	refused(t, m, 0, "", errs.NotFound, "no model")
	if err := m.Undeploy(context.Background(), "user/ann", "m"); !errs.Is(err, errs.NotFound) {
		t.Errorf("twice: %v", err)
	}
	if len(w.records) != 0 || len(m.List()) != 0 {
		t.Errorf("%v %v", w.records, m.List())
	}
	deploy(t, m, 2)
	if got := answer(t, m, 0, "prod"); got != 2 {
		t.Error(got)
	}
}

func TestARequestInFlightKeepsItsVersion(t *testing.T) {
	w := newWorld(2)
	m := newManager(t, w)
	deploy(t, m, 1)
	held, err := m.Acquire("m", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	deploy(t, m, 2)
	s, _ := m.Get("m")
	if s.Versions[1].State != serve.Unloading || answer(t, m, 0, "") != 2 {
		t.Errorf("%+v", s.Versions)
	}
	if y, err := ask(held); err != nil || y != 1 {
		t.Errorf("%v, %v", y, err)
	}
	held.Release()
	if got := states(t, m); got != "2 AVAILABLE , 1 END " {
		t.Error(got)
	}
}

func TestWhatWasInServiceComesBackAfterARestart(t *testing.T) {
	w := newWorld(5)
	w.aliases["prod"] = 1
	w.records["m"] = serve.Record{Model: "m", Version: 2, Added: []int64{4, 5}, Actor: "user/ann", Created: start}
	w.records["lost"] = serve.Record{Model: "lost", Version: 77}
	w.broken[5] = errors.New("a flipped bit")
	m := newManager(t, w)
	if got := answer(t, m, 0, ""); got != 4 {
		t.Errorf("version %d answers", got)
	}
	if got := states(t, m); got != "5 END , 4 AVAILABLE , 2 AVAILABLE , 1 AVAILABLE prod" {
		t.Error(got)
	}
	if _, err := m.Acquire("lost", 0, ""); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "no version 77") {
		t.Errorf("%v", err)
	}
}

func TestAVersionThatFailedAfterARestartIsTriedAgain(t *testing.T) {
	w := newWorld(2)
	w.records["m"] = serve.Record{Model: "m", Version: 2, Actor: "user/ann", Created: start}
	w.broken[2] = errors.New("input/output error")
	c := clock.NewFake(start)
	m := newManager(t, w, func(o *serve.Options) { o.Clock, o.Tick = c, time.Millisecond })
	refused(t, m, 0, "", errs.Unavailable, "input/output error")
	w.set(func() { clear(w.broken) })
	c.Advance(time.Minute)
	for range 5000 {
		if s, err := m.Get("m"); err == nil && s.Default == 2 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := answer(t, m, 0, ""); got != 2 {
		t.Error(got)
	}
}

func TestBeforeEverythingIsBackNothingIsSaidToBeMissing(t *testing.T) {
	w := newWorld(1)
	w.records["slow"] = serve.Record{Model: "slow", Version: 1}
	w.gate = make(chan struct{})
	m := serve.New(serve.Options{Store: w, Models: w, Runtime: w, Clock: clock.NewFake(start)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	refused(t, m, 0, "", errs.Unavailable, "try again")
	close(w.gate)
	<-m.Restored()
	refused(t, m, 0, "", errs.NotFound, "no model")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAChangeGoesOnWhenItsCallerGoesAway(t *testing.T) {
	w := newWorld(2)
	w.gate = make(chan struct{})
	m := newManager(t, w)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Deploy(ctx, "user/ann", "m", 1); !errs.Is(err, errs.Canceled) {
		// The change may not have begun: then there is nothing to go on.
		t.Fatalf("%v", err)
	}
	close(w.gate)
	if _, err := m.Deploy(context.Background(), "user/ann", "m", 2); err != nil || answer(t, m, 0, "") != 2 {
		t.Errorf("%v", err)
	}
}

func TestAMemoryLimitRefusesInWords(t *testing.T) {
	w := newWorld(3)
	m := newManager(t, w, func(o *serve.Options) { o.MemoryLimit = 15 })
	deploy(t, m, 1)
	if _, err := m.Deploy(context.Background(), "user/ann", "m", 2); !errs.Is(err, errs.Exhausted) || !strings.Contains(err.Error(), "undeploy") {
		t.Errorf("%v", err)
	}
	if got := answer(t, m, 0, ""); got != 1 {
		t.Error(got)
	}
}

func TestVersionsAreSwappedUnderLoadWithoutAFailedRequest(t *testing.T) {
	w := newWorld(40)
	w.aliases["prod"] = 1
	m := newManager(t, w)
	deploy(t, m, 1)
	stop := make(chan struct{})
	var asked atomic.Int64
	var clients sync.WaitGroup
	for c := range 8 {
		label := ""
		if c%2 == 1 {
			label = "prod"
		}
		clients.Go(func() {
			last := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := answer(t, m, 0, label)
				if got < last {
					t.Errorf("version %d answered after %d", got, last)
				}
				last = got
				asked.Add(1)
			}
		})
	}
	for n := int64(2); n <= 40; n++ {
		before := asked.Load()
		deploy(t, m, n)
		w.set(func() { w.aliases["prod"] = n })
		m.SyncAliases(context.Background(), "m")
		for asked.Load() == before {
			time.Sleep(time.Microsecond)
		}
	}
	close(stop)
	clients.Wait()
	if got := states(t, m); !strings.HasPrefix(got, "40 AVAILABLE prod, 39 END") {
		t.Error(got)
	}
}

func TestDeploysOfOneModelAtOnceEndWithOneOfThem(t *testing.T) {
	w := newWorld(20)
	m := newManager(t, w)
	var all sync.WaitGroup
	for n := int64(1); n <= 20; n++ {
		all.Go(func() {
			if n%5 == 0 {
				if err := m.Undeploy(context.Background(), "user/ann", "m"); err != nil && !errs.Is(err, errs.NotFound) {
					t.Error(err)
				}
				return
			}
			if _, err := m.Deploy(context.Background(), "user/ann", "m", n); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	deploy(t, m, 7)
	if got := answer(t, m, 0, ""); got != 7 || w.records["m"].Version != 7 {
		t.Errorf("%d answers, %d is recorded", got, w.records["m"].Version)
	}
	states(t, m)
	if n := w.inMemory.Load(); n != 1 {
		t.Errorf("%d versions are in memory", n)
	}
}

func TestAStoppedManagerRefuses(t *testing.T) {
	w := newWorld(1)
	m := serve.New(serve.Options{Store: w, Models: w, Runtime: w, Clock: clock.NewFake(start)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-m.Restored()
	deploy(t, m, 1)
	cancel()
	if err := <-done; err != nil || w.inMemory.Load() != 0 {
		t.Errorf("%v, %d in memory", err, w.inMemory.Load())
	}
	if _, err := m.Deploy(context.Background(), "user/ann", "m", 1); !errs.Is(err, errs.Unavailable) {
		t.Errorf("%v", err)
	}
	refused(t, m, 0, "", errs.Unavailable, "stopping")
	if w.records["m"].Version != 1 {
		t.Error("stopping the server took the model out of service")
	}
}

func TestRequestsAreCountedPerVersion(t *testing.T) {
	w := newWorld(2)
	c := clock.NewFake(start)
	m := newManager(t, w, func(o *serve.Options) { o.Clock = c })
	deploy(t, m, 1)
	l, err := m.Acquire("m", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		l.Observe(time.Duration(i+1)*time.Millisecond, i < 3)
	}
	l.Release()
	deploy(t, m, 2)
	states(t, m)
	c.Advance(10 * time.Second)
	s, _ := m.Get("m")
	if s.Requests != 100 || s.Errors != 3 || s.RPS != 10 || s.P50Ms < 45 || s.P50Ms > 56 || s.P99Ms < 88 || s.P99Ms > 112 {
		t.Errorf("%+v", s)
	}
	if s.Versions[0].Requests != 0 || s.Versions[1].Requests != 100 {
		t.Errorf("%+v", s.Versions)
	}
}
