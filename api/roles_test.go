package api_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/access"
)

// tarOf is a tar stream of one file.
func tarOf(t *testing.T, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// furnished is a hall in which dan has one of everything.
func furnished(t *testing.T, change ...func(*api.Options)) *hall {
	t.Helper()
	h := newHall(t, change...)
	h.await(h.submit("dan", sleeper).ID, job.Running)
	h.await(h.submit("dan", "name: web\nkind: service\ncommand: [serve]\n").ID, job.Running)
	h.upload("dan", "mnist")
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/api/v1/models/mnist/aliases/prod", `{"version":1}`},
		{"POST", "/api/v1/services", `{"model":"mnist","alias":"prod"}`},
		{"POST", "/api/v1/data/digits", tarOf(t, "a.txt", "one")},
		{"PUT", "/api/v1/secrets/hub", `{"value":"the very secret value"}`},
	} {
		if a := h.as("dan", c.method, c.path, c.body); a.code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", c.method, c.path, a.code, a.body)
		}
	}
	course := calendar.Request{Name: "course", User: "eve", From: time.Now().AddDate(1, 0, 0), To: time.Now().AddDate(1, 0, 9), Nodes: []string{"here"}}
	if _, err := h.calendar.Add(t.Context(), "user/dan", "dan", course, false); err != nil {
		t.Fatal(err)
	}
	return h
}

// what each role gets for a call, in the order of who. The changes are dry runs, so that one call leaves the next its
// ground; what a change does is tested with its resource.
var who = [...]string{"ann", "dan", "eve", "vic", "sam", ""}

type permission struct {
	method, path, body string
	want               [len(who)]int
}

func permissions(t *testing.T, h *hall) []permission {
	const ok, no, gone, in = http.StatusOK, http.StatusForbidden, http.StatusNotFound, http.StatusUnauthorized
	const done = http.StatusNoContent
	token := func(user string) string {
		all, err := h.access.Tokens(t.Context(), h.access.Socket())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range all {
			if k.User == user {
				return k.ID
			}
		}
		t.Fatalf("no token of %s", user)
		return ""
	}
	grant, err := h.access.Grant(t.Context(), h.access.Socket(), access.Grant{User: "vic", Actions: []string{"predict"}, Type: "service", Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	return []permission{
		{"GET", "/session", "", [...]int{ok, ok, ok, ok, ok, in}},
		{"DELETE", "/session", "", [...]int{done, done, done, done, done, in}},
		{"GET", "/overview", "", [...]int{ok, ok, ok, ok, no, in}},
		{"POST", "/solve", "max\n x\nst\n x <= 3\nend\n", [...]int{ok, ok, ok, no, no, in}},

		{"POST", "/jobs", sleeper, [...]int{ok, ok, ok, no, no, in}},
		{"GET", "/jobs", "", [...]int{ok, ok, ok, ok, no, in}},
		{"GET", "/plan", "", [...]int{ok, ok, ok, ok, no, in}},
		{"GET", "/jobs/1", "", [...]int{ok, ok, ok, ok, gone, in}},
		{"GET", "/jobs/1/why", "", [...]int{ok, ok, ok, ok, gone, in}},
		{"GET", "/jobs/1/usage", "", [...]int{ok, ok, ok, ok, gone, in}},
		{"GET", "/jobs/1/metrics", "", [...]int{ok, ok, ok, ok, gone, in}},
		{"GET", "/jobs/1/logs", "", [...]int{ok, ok, ok, ok, gone, in}},
		{"GET", "/jobs/1/exec", "", [...]int{400, 400, no, no, gone, in}},
		{"POST", "/jobs/1/cancel", "", [...]int{ok, ok, no, no, gone, in}},
		{"POST", "/jobs/1/retry", "", [...]int{ok, ok, no, no, gone, in}},
		{"GET", "/arrays/3", "", [...]int{ok, ok, ok, ok, gone, in}},
		{"POST", "/arrays/3/cancel", "", [...]int{ok, ok, no, no, gone, in}},
		{"POST", "/arrays/3/retry", "", [...]int{ok, ok, no, no, gone, in}},
		{"PUT", "/jobs/2/replicas", `{"replicas":2}`, [...]int{ok, ok, no, no, gone, in}},
		{"POST", "/code", "code", [...]int{ok, ok, ok, no, no, in}},

		{"GET", "/data", "", [...]int{ok, ok, ok, ok, no, in}},
		{"GET", "/data/digits", "", [...]int{ok, ok, ok, ok, gone, in}},
		{"POST", "/data/digits", "", [...]int{ok, ok, no, no, gone, in}},
		{"POST", "/data/others", "", [...]int{ok, ok, ok, no, no, in}},

		{"GET", "/models", "", [...]int{ok, ok, ok, ok, no, in}},
		{"GET", "/models/mnist", "", [...]int{ok, ok, ok, ok, no, in}},
		{"GET", "/models/mnist/versions/1", "", [...]int{ok, ok, ok, ok, no, in}},
		{"POST", "/models/mnist/versions?filename=m.keras", "", [...]int{ok, ok, ok, no, no, in}},
		{"GET", "/models/mnist/versions/1/export", "", [...]int{ok, ok, no, no, no, in}},
		{"GET", "/models/mnist/versions/1/warmup", "", [...]int{gone, gone, gone, gone, no, in}},
		{"PUT", "/models/mnist/versions/1/warmup", `{"instances":[[3]]}`, [...]int{ok, ok, ok, no, no, in}},
		{"DELETE", "/models/mnist/versions/1/warmup", "", [...]int{gone, gone, gone, no, no, in}},
		{"POST", "/models/mnist/versions/1/compress", `{"to":"int8","data":"digits"}`, [...]int{ok, ok, ok, no, no, in}},
		{"PUT", "/models/mnist/aliases/prod", `{"version":1}`, [...]int{ok, ok, ok, no, no, in}},
		{"DELETE", "/models/mnist/aliases/prod", "", [...]int{ok, ok, ok, no, no, in}},

		{"GET", "/services", "", [...]int{ok, ok, ok, ok, ok, in}},
		{"GET", "/services/mnist", "", [...]int{ok, ok, ok, ok, ok, in}},
		{"GET", "/upstreams", "", [...]int{ok, ok, ok, ok, ok, in}},
		{"POST", "/services", `{"model":"mnist"}`, [...]int{ok, ok, ok, no, no, in}},
		{"GET", "/services/mnist/release", "", [...]int{gone, gone, gone, gone, gone, in}},
		{"PUT", "/services/mnist/release", `{"candidate":1,"percent":10}`, [...]int{400, 400, 400, no, no, in}},
		{"DELETE", "/services/mnist/release", "", [...]int{gone, gone, gone, no, no, in}},
		{"GET", "/services/mnist/log", "", [...]int{409, no, no, no, no, in}},
		{"POST", "/services/mnist/reference", `{}`, [...]int{ok, ok, ok, no, no, in}},
		{"PUT", "/services/mnist/idle", `{"after":"5m"}`, [...]int{ok, ok, ok, no, no, in}},
		{"PUT", "/services/mnist/batching", `{"max_rows":8,"slo":"100ms"}`, [...]int{ok, ok, ok, no, no, in}},
		{"DELETE", "/services/mnist/batching", "", [...]int{ok, ok, ok, no, no, in}},
		{"DELETE", "/services/mnist", "", [...]int{done, done, done, no, no, in}},
		{"POST", "/services/mnist/predict", `{"instances":[[3]]}`, [...]int{ok, ok, ok, no, ok, in}},

		{"GET", "/fleet", "", [...]int{ok, ok, ok, ok, no, in}},
		{"POST", "/fleet/here/cordon", `{"reason":"fan"}`, [...]int{ok, no, no, no, gone, in}},
		{"POST", "/fleet/here/uncordon", "", [...]int{ok, no, no, no, gone, in}},

		{"GET", "/reservations", "", [...]int{ok, ok, ok, ok, no, in}},
		{"POST", "/reservations", `{"name":"new","user":"eve","to":"2999-01-01T00:00:00Z","from":"2998-12-01T00:00:00Z","nodes":["here"]}`, [...]int{ok, no, no, no, no, in}},
		{"DELETE", "/reservations/course", "", [...]int{done, done, no, no, gone, in}},

		{"GET", "/policies", "", [...]int{ok, ok, ok, ok, no, in}},
		{"PUT", "/policies/restart", `{"mode":"advise"}`, [...]int{ok, no, no, no, gone, in}},
		{"GET", "/actions", "", [...]int{ok, ok, ok, ok, no, in}},
		{"POST", "/actions/act_1/approve", "", [...]int{gone, no, no, no, gone, in}},

		{"GET", "/users", "", [...]int{ok, ok, ok, ok, ok, in}},
		{"GET", "/users/dan", "", [...]int{ok, ok, gone, gone, gone, in}},
		{"POST", "/users", `{"name":"new","role":"viewer"}`, [...]int{ok, no, no, no, no, in}},
		{"PATCH", "/users/dan", `{"password":"another long phrase"}`, [...]int{ok, ok, gone, gone, gone, in}},
		{"PATCH", "/users/dan", `{"role":"admin"}`, [...]int{ok, no, gone, gone, gone, in}},
		{"DELETE", "/users/dan", "", [...]int{done, no, gone, gone, gone, in}},
		{"POST", "/users/dan/link", "", [...]int{ok, ok, gone, gone, gone, in}},
		{"GET", "/tokens", "", [...]int{ok, ok, ok, ok, ok, in}},
		{"POST", "/tokens", `{"name":"ci"}`, [...]int{ok, ok, ok, ok, no, in}},
		{"DELETE", "/tokens/" + token("dan"), "", [...]int{done, done, gone, gone, gone, in}},
		{"GET", "/grants", "", [...]int{ok, no, no, no, no, in}},
		{"POST", "/grants", `{"user":"vic","actions":["export"],"type":"model","name":"mnist"}`, [...]int{ok, no, no, no, no, in}},
		{"DELETE", "/grants/" + grant.ID, "", [...]int{done, gone, gone, gone, gone, in}},

		{"GET", "/secrets", "", [...]int{ok, ok, ok, no, no, in}},
		{"PUT", "/secrets/hub", `{"value":"x"}`, [...]int{ok, ok, 409, 409, 409, in}},
		{"PUT", "/secrets/mine", `{"value":"x"}`, [...]int{ok, ok, ok, no, no, in}},
		{"DELETE", "/secrets/hub", "", [...]int{done, done, gone, gone, gone, in}},
		{"POST", "/keys/rotate", "", [...]int{ok, no, no, no, no, in}},

		{"GET", "/audit", "", [...]int{ok, no, no, no, no, in}},
		{"GET", "/audit/verify", "", [...]int{ok, no, no, no, no, in}},
		{"GET", "/events", "", [...]int{ok, ok, ok, ok, no, in}},
	}
}

func TestEveryCallAsksWhoMay(t *testing.T) {
	h := furnished(t)
	h.submit("dan", "name: sweep\ncommand: [sweep]\narray: {over: {RATE: [0.1, 0.01]}, limit: 1}\n")
	spec := h.document()
	asked := map[string]bool{"POST /session": true} // who signs in is nobody yet
	for _, p := range permissions(t, h) {
		asked[spec.pattern(p.method, p.path)] = true
		path := "/api/v1" + p.path
		if p.method != http.MethodGet && p.path != "/session" && !strings.HasSuffix(p.path, "/predict") {
			path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "dry_run=true"
		}
		for i, name := range who {
			a := h.brief(name, p.method, path, p.body)
			if a.code != p.want[i] {
				t.Errorf("%s %s as %q: %d, want %d: %s", p.method, p.path, name, a.code, p.want[i], a.body)
			}
			if err := spec.check(p.method, p.path, a); err != nil {
				t.Errorf("%s %s as %q: %v: %s", p.method, p.path, name, err, a.body)
			}
			if strings.Contains(a.body, "very secret") {
				t.Errorf("%s %s as %q gives a secret away: %s", p.method, p.path, name, a.body)
			}
		}
	}
	for _, op := range spec.operations() {
		if !asked[op] {
			t.Errorf("%s is not in the table above: who may call it?", op)
		}
	}
	if log := h.log.String(); strings.Contains(log, "very secret") || strings.Contains(log, "long phrase") {
		t.Error("the log holds a secret")
	}
}

func TestWhatMayNotBeKnownReadsLikeWhatIsNotThere(t *testing.T) {
	h := furnished(t)
	h.submit("dan", "name: sweep\ncommand: [sweep]\narray: {over: {RATE: [0.1, 0.01]}, limit: 1}\n")
	for _, c := range []struct{ who, there, not string }{
		{"sam", "/jobs/1", "/jobs/7"},
		{"sam", "/arrays/3", "/arrays/8"},
		{"sam", "/data/digits", "/data/letter"},
		{"eve", "/users/dan", "/users/zoe"},
	} {
		a, b := h.as(c.who, "GET", "/api/v1"+c.there, ""), h.as(c.who, "GET", "/api/v1"+c.not, "")
		there, not := c.there[strings.LastIndex(c.there, "/")+1:], c.not[strings.LastIndex(c.not, "/")+1:]
		if a.code != http.StatusNotFound || strings.ReplaceAll(a.body, there, not) != b.body {
			t.Errorf("%s tells them apart:\n%s%s", c.who, a.body, b.body)
		}
	}
}

func TestAGrantLetsOneMoreIn(t *testing.T) {
	h := furnished(t)
	const path = "/api/v1/models/mnist/versions/1/export"
	if a := h.as("eve", "GET", path, ""); a.code != http.StatusForbidden {
		t.Fatalf("%d %s", a.code, a.body)
	}
	if a := h.as("ann", "POST", "/api/v1/grants", `{"user":"eve","actions":["export"],"type":"model","name":"mnist"}`); a.code != http.StatusOK {
		t.Fatalf("%d %s", a.code, a.body)
	}
	if a := h.as("eve", "GET", path, ""); a.body != "weights of mnist" || a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
		t.Errorf("%d %s %v", a.code, a.body, a.header)
	}
	var log api.Page[json.RawMessage]
	h.as("ann", "GET", "/api/v1/audit?action=model.exported", "").into(t, &log)
	if len(log.Items) != 1 || !strings.Contains(string(log.Items[0]), "user/eve") {
		t.Errorf("%s", log.Items)
	}
}
