package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/audit"
)

func TestHealthIsForEverybodyAndNothingElseIs(t *testing.T) {
	var notReady error
	h := newHall(t, func(o *api.Options) { o.Ready = func(context.Context) error { return notReady } })
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 401, "/api/openapi.json": 401, "/api/v1/jobs": 401, "/api/v1/session": 401} {
		if a := h.as("", "GET", path, ""); a.code != want {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
	}
	notReady = errors.New("models are being loaded: 1 of 3")
	if a := h.as("", "GET", "/readyz", ""); a.code != http.StatusServiceUnavailable || !strings.Contains(a.body, "1 of 3") {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func TestMetricsCountRequestsAndNobodyMakesUpLabels(t *testing.T) {
	h := newHall(t)
	h.as("vic", "GET", "/api/v1/jobs", "")
	h.as("vic", "BREW", "/api/v1/jobs", "")
	a := h.as("vic", "GET", "/metrics", "")
	for _, want := range []string{`lineshaft_api_request_seconds_count{method="GET",status="200"} 1`, `lineshaft_api_request_seconds_count{method="other",status="405"} 1`, "lineshaft_api_requests_open 1"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in\n%s", want, a.body)
		}
	}
	if a := h.as("sam", "GET", "/metrics", ""); a.code != http.StatusForbidden || !strings.Contains(a.body, `"kind":"denied"`) {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func TestTheConsolesFilesAreFenced(t *testing.T) {
	h := newHall(t, func(o *api.Options) {
		o.Console = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page ", r.URL.Path) })
	})
	a := h.as("", "GET", "/jobs/1", "")
	csp := a.header.Get("Content-Security-Policy")
	if a.body != "page /jobs/1" || !strings.Contains(csp, "script-src 'self';") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") ||
		a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("%s %v", a.body, a.header)
	}
	a = h.as("vic", "GET", "/api/v1/jobs", "")
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("X-Request-Id") == "" {
		t.Errorf("%v", a.header)
	}
}

// stuck is a registry of jobs that never answers.
type stuck struct {
	api.Jobs
	asked chan struct{}
}

func (s *stuck) List(ctx context.Context, _ job.Filter) ([]job.Job, error) {
	s.asked <- struct{}{}
	<-ctx.Done()
	return nil, errs.E("stuck.List", errs.Other, ctx.Err())
}

func TestARequestThatHangsIsGivenUp(t *testing.T) {
	h := newHall(t)
	s := &stuck{h.o.Jobs, make(chan struct{}, 1)}
	h.o.Jobs, h.o.Timeout = s, 10*time.Millisecond
	h.listen()
	a := h.as("vic", "GET", "/api/v1/jobs", "")
	if a.code != http.StatusGatewayTimeout || !strings.Contains(a.body, "took longer than 10ms") {
		t.Errorf("%d %s", a.code, a.body)
	}
	<-s.asked

	h.o.Timeout = time.Hour
	h.listen()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/api/v1/jobs", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.tokens["vic"])
	go func() { <-s.asked; cancel() }()
	if _, err := http.DefaultClient.Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// broken is a registry whose logs break off.
type broken struct{ api.Jobs }

func (broken) Logs(context.Context, job.ID, int, int64, bool) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader("the first half"), failing{})), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

func TestAHalfIsNeverTakenForTheWhole(t *testing.T) {
	h := furnished(t)
	h.o.Jobs = broken{h.o.Jobs}
	h.listen()
	log, err := h.client("dan").Logs(t.Context(), 1, 0, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if b, err := io.ReadAll(log); string(b) != "the first half" || err == nil {
		t.Errorf("%q, %v", b, err)
	}
	if !strings.Contains(h.log.String(), "input/output error") {
		t.Error("the log does not say what happened")
	}
}

func TestOfAStreamOneMayAskForTheHeaderAlone(t *testing.T) {
	h := furnished(t)
	before := len(h.exports())
	for path, want := range map[string]string{
		"/events": "text/event-stream", "/jobs/1/logs?follow=true": "text/plain; charset=utf-8", "/models/mnist/versions/1/export": "application/octet-stream", "/jobs": "application/json",
	} {
		for range 2 { // the second comes over the same connection
			if a := h.as("ann", "HEAD", "/api/v1"+path, ""); a.code != http.StatusOK || a.header.Get("Content-Type") != want || a.body != "" {
				t.Errorf("%s: %d %v", path, a.code, a.header)
			}
		}
	}
	if len(h.exports()) != before {
		t.Error("a header is no export")
	}
}

// exports are the audit log's.
func (h *hall) exports() []audit.Entry {
	h.t.Helper()
	all, err := h.Store.ListAudit(h.t.Context(), audit.Filter{Action: "model.exported"})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func TestStreamsEndWithTheServer(t *testing.T) {
	closing, stop := context.WithCancel(t.Context())
	h := newHall(t, func(o *api.Options) { o.Closing = closing })
	h.await(h.submit("dan", sleeper).ID, job.Running)
	log, err := h.client("dan").Logs(t.Context(), 1, 0, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	stop()
	if _, err := io.ReadAll(log); err == nil {
		t.Error("a log that goes on looks as if it had ended")
	}
}
