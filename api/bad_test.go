package api_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// bad is a call that cannot be done, with what the answer must say.
type bad struct {
	method, path, body string
	code               int
	says               string
}

func badParameters() []bad {
	return []bad{
		{"GET", "/jobs/abc", "", 400, `path parameter \"id\" is \"abc\"`},
		{"GET", "/jobs/0", "", 400, `path parameter \"id\"`},
		{"GET", "/jobs/99999999999999999999", "", 400, `path parameter \"id\"`},
		{"GET", "/jobs/77", "", 404, "no job 77; `lineshaft jobs` lists them"},
		{"GET", "/jobs?limit=0", "", 400, `query parameter \"limit\"`},
		{"GET", "/jobs?limit=1001", "", 400, `query parameter \"limit\"`},
		{"GET", "/jobs?limit=many", "", 400, `query parameter \"limit\" is \"many\"`},
		{"GET", "/jobs?state=asleep", "", 400, "queued"},
		{"GET", "/jobs?after=me", "", 400, "after=me"},
		{"GET", "/jobs?colour=red", "", 400, `query parameter \"colour\"`},
		{"GET", "/jobs/1/logs?task=-1", "", 400, `\"task\"`},
		{"GET", "/jobs/1/logs?task=1", "", 404, "no task 1"},
		{"GET", "/jobs/1/logs?follow=perhaps", "", 400, `\"follow\"`},
		{"GET", "/jobs/1/metrics?after=-5", "", 400, `\"after\"`},
		{"GET", "/jobs/1/exec?term=%0Ax", "", 400, `\"term\"`},
		{"POST", "/jobs/1/cancel?dry_run=perhaps", "", 400, `\"dry_run\"`},
		{"GET", "/models/none", "", 404, `no model \"none\"`},
		{"GET", "/models/mnist/versions/9", "", 404, `has no version 9`},
		{"GET", "/models/mnist/versions/-1", "", 400, `\"version\"`},
		{"GET", "/models/mnist/versions/1/export?format=onnx", "", 400, "keras-h5"},
		{"GET", "/data/none", "", 404, `no data set \"none\"`},
		{"GET", "/data/digits@9", "", 404, `digits@9`},
		{"GET", "/data/digits@x", "", 400, `write NAME or NAME@VERSION`},
		{"GET", "/services/none", "", 404, "no model \\\"none\\\" is in service"},
		{"DELETE", "/models/mnist/aliases/none", "", 404, `has no alias \"none\"`},
		{"DELETE", "/users/none", "", 404, `no user \"none\"`},
		{"DELETE", "/tokens/none", "", 404, `no token \"none\"`},
		{"DELETE", "/grants/none", "", 404, `no grant \"none\"`},
		{"DELETE", "/secrets/none", "", 404, `no secret \"none\"`},
		{"POST", "/fleet/none/cordon", `{"reason":"x"}`, 404, `no node \"none\"`},
		{"POST", "/fleet/here/uncordon", "", 409, "is not cordoned"},
		{"POST", "/actions/none/approve", "", 404, `none`},
		{"GET", "/events?topics=jobs,weather", "", 400, `no topic \"weather\"; the topics are jobs`},
		{"GET", "/audit?before=x", "", 400, `\"before\"`},
	}
}

func badJobs() []bad {
	deep := strings.Repeat("[", 5000)
	return []bad{
		{"POST", "/jobs", "", 400, ""},
		{"POST", "/jobs", "name: [", 400, "line 1"},
		{"POST", "/jobs", `{"name": "x", `, 400, "line 1"},
		{"POST", "/jobs", "name: x\ncomand: [a]\n", 400, `line 2, column 1: unknown field \"comand\"; did you mean \"command\"?`},
		{"POST", "/jobs", "- a\n", 400, "must be a mapping"},
		{"POST", "/jobs", "name: x\ncommand: " + deep, 400, ""},
		{"POST", "/jobs", "name: x\ncommand: [a]\ntasks: many\n", 400, "tasks must be a number"},
		{"POST", "/jobs", "name: x\ncommand: [a]\nresources: {cpu: 1000}\n", 400, "would never fit"},
		{"POST", "/jobs", "name: x\n# " + strings.Repeat("x", 300<<10), 413, "256 KiB"},
		{"POST", "/jobs", "name: x\ncommand: [a]\ndata: [none]\n", 404, `no data set \"none\"`},
		{"POST", "/jobs", "name: x\ncommand: [a]\nsecrets: [{name: none, env: X}]\n", 404, `no secret \"none\"`},
		{"POST", "/jobs", "name: x\ncommand: [a]\ncode: sha256:" + strings.Repeat("0", 64) + "\n", 404, "no uploaded code"},
		{"POST", "/jobs", "name: x\ntrain: {layers: [{warp: {}}]}\n", 400, "warp"},
		{"POST", "/jobs", "name: x\ntrain: {layers: []}\n", 400, "no layers"},
		{"POST", "/jobs", "name: x\ntrain: {layer: []}\n", 400, `did you mean \"layers\"`},
		{"POST", "/jobs", "name: x\ntrain: {epochs: -1, layers: [{type: dense, units: 2}]}\n", 400, "epochs"},
		{"PUT", "/jobs/2/replicas", "", 400, "the body is empty"},
		{"PUT", "/jobs/2/replicas", "replicas: 2", 400, "no JSON object"},
		{"PUT", "/jobs/2/replicas", "[2]", 400, "no JSON object"},
		{"PUT", "/jobs/2/replicas", `{"replicas":`, 400, "line 1"},
		{"PUT", "/jobs/2/replicas", `{"replicas":"2"}`, 400, "replicas must be a number, not text"},
		{"PUT", "/jobs/2/replicas", `{"replicas":2.5}`, 400, "2.5 is not a whole number"},
		{"PUT", "/jobs/2/replicas", `{"replica":2}`, 400, `unknown field \"replica\"; did you mean \"replicas\"?`},
		{"PUT", "/jobs/2/replicas", `{"replicas":2,"replicas":3}`, 400, "given twice"},
		{"PUT", "/jobs/2/replicas", `{"replicas":-1}`, 400, ""},
		{"PUT", "/jobs/2/replicas", `{"replicas":5000}`, 400, ""},
		{"PUT", "/jobs/1/replicas", `{"replicas":2}`, 400, ""},
	}
}

func badUploads(t *testing.T) []bad {
	var escape bytes.Buffer
	w := tar.NewWriter(&escape)
	if err := w.WriteHeader(&tar.Header{Name: "../out", Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := tarOf(t, "a.txt", strings.Repeat("x", 5000))
	large := strings.Repeat("x", 3<<20)
	return []bad{
		{"POST", "/models/m/versions", "x", 400, `query parameter \"filename\"`},
		{"POST", "/models/m/versions?filename=m.pt", "x", 400, ".h5 or .keras"},
		{"POST", "/models/a%2Fb/versions?filename=m.h5", "x", 400, ""},
		{"POST", "/models/..%2F..%2Fetc/versions?filename=m.h5", "x", 400, ""},
		{"POST", "/models/m/versions?filename=m.h5", large, 413, ""},
		{"POST", "/data/d", "this is no tar", 400, "not a whole tar stream"},
		{"POST", "/data/d", "", 400, "would be empty"},
		{"POST", "/data/d", whole[:3000], 400, "the body broke off"},
		{"POST", "/data/d", escape.String(), 400, "leads out of the data set"},
		{"POST", "/data/d", tarOf(t, "a.txt", large), 413, ""},
		{"POST", "/data/%2e%2e", whole, 400, "is not allowed"},
		{"POST", "/data/a%20b", whole, 400, ""},
		{"POST", "/code", large, 413, ""},
		{"PUT", "/models/mnist/aliases/prod", `{"version":9}`, 404, "has no version 9"},
		{"PUT", "/models/mnist/aliases/prod", `{"version":0}`, 400, `send {\"version\": N}`},
		{"PUT", "/models/mnist/aliases/a%20b", `{"version":1}`, 400, ""},
		{"POST", "/services", `{"model":"none"}`, 404, `no model \"none\"`},
		{"POST", "/services", `{"model":"mnist","version":9}`, 404, "has no version 9"},
		{"POST", "/services", `{"model":"mnist","alias":"none"}`, 404, `has no alias \"none\"`},
		{"POST", "/services", `{"model":"mnist","version":1,"alias":"prod"}`, 400, "or neither"},
		{"POST", "/services", `{}`, 400, "or neither"},
		{"POST", "/services/mnist/predict", `{"instances":`, 400, ""},
		{"POST", "/services/mnist/predict", `{"instances":[[1,2]]}`, 400, ""},
		{"POST", "/services/mnist/predict?version=9", `{"instances":[[1]]}`, 404, ""},
		{"POST", "/services/mnist/predict?version=1&label=prod", `{"instances":[[1]]}`, 400, "name one of them"},
		{"POST", "/services/none/predict", `{"instances":[[1]]}`, 404, "is in service"},
		{"POST", "/services/mnist/predict", "{" + large, 413, "1 MiB"},
	}
}

func badAccounts() []bad {
	return []bad{
		{"POST", "/session", `{"name":"dan"}`, 400, "send either"},
		{"POST", "/session", `{"name":"dan","password":"wrong"}`, 401, "the name or the password is wrong"},
		{"POST", "/session", `{"name":"none","password":"wrong"}`, 401, "the name or the password is wrong"},
		{"POST", "/session", `{"name":"dan","password":12345}`, 400, "it may hold a secret"},
		{"POST", "/users", `{"name":"a b","role":"viewer"}`, 400, ""},
		{"POST", "/users", `{"name":"new","role":"king"}`, 400, `role \"king\" is not known`},
		{"POST", "/users", `{"name":"new","role":"viewer","password":"short"}`, 400, "too short"},
		{"POST", "/users", `{"name":"dan","role":"viewer"}`, 409, "already"},
		{"POST", "/users?dry_run=true", `{"name":"dan","role":"viewer"}`, 409, "already"},
		{"PATCH", "/users/dan", `{}`, 400, "nothing is to be changed"},
		{"PATCH", "/users/none", `{"disabled":true}`, 404, `no user \"none\"`},
		{"PATCH", "/users/dan", `{"disabled":"yes"}`, 400, "it may hold a secret"},
		{"POST", "/tokens", `{"role":"king"}`, 400, "is not known"},
		{"POST", "/tokens", `{"scopes":["fly"]}`, 400, "fly"},
		{"POST", "/tokens", `{"ttl":"soon"}`, 400, "ttl"},
		{"POST", "/tokens", `{"ttl":"1s"}`, 400, "1m"},
		{"POST", "/tokens", `{"user":"none"}`, 404, `no user \"none\"`},
		{"POST", "/grants", `{"user":"vic","actions":["fly"],"type":"model","name":"m"}`, 400, "fly"},
		{"POST", "/grants", `{"user":"vic","actions":["read"],"type":"cloud","name":"m"}`, 400, "cloud"},
		{"PUT", "/secrets/x", `{}`, 400, `{\"value\": TEXT}`},
		{"PUT", "/secrets/x", `{"value":"a","base64":"YQ=="}`, 400, `{\"value\": TEXT}`},
		{"PUT", "/secrets/x", `{"base64":"not base64"}`, 400, "is not base64"},
		{"PUT", "/secrets/x", `{"value":"` + strings.Repeat("x", 70<<10) + `"}`, 413, ""},
		{"PUT", "/secrets/x", `{"value":hunter2}`, 400, "it may hold a secret"},
		{"PUT", "/secrets/a%20b", `{"value":"x"}`, 400, ""},
		{"PUT", "/policies/restart", `{"mode":"maybe"}`, 400, "maybe"},
		{"PUT", "/policies/none", `{"mode":"off"}`, 404, `no policy \"none\"`},
	}
}

func TestWhatCannotBeDoneIsRefusedInWords(t *testing.T) {
	h := furnished(t, func(o *api.Options) { o.BodyLimit = 1 << 20 })
	spec := h.document()
	var all []bad
	for _, list := range [][]bad{badParameters(), badJobs(), badUploads(t), badAccounts()} {
		all = append(all, list...)
	}
	for _, b := range all {
		a := h.as("ann", b.method, "/api/v1"+b.path, b.body)
		name := fmt.Sprintf("%s %s %.60q", b.method, b.path, b.body)
		if a.code != b.code || !strings.Contains(a.body, b.says) {
			t.Errorf("%s: %d %s, want %d with %s", name, a.code, a.body, b.code, b.says)
		}
		if err := spec.check(b.method, b.path, a); err != nil && !strings.Contains(err.Error(), "not documented") {
			t.Errorf("%s: %v: %s", name, err, a.body)
		}
		for _, secret := range []string{"hunter2", "12345", "api.r", "job.S", "store."} {
			if strings.Contains(a.body, secret) {
				t.Errorf("%s: the answer shows %q: %s", name, secret, a.body)
			}
		}
	}
	if strings.Contains(h.log.String(), "hunter2") {
		t.Error("the log shows a secret")
	}
	if left := len(h.Sealed(t)); left != 2 {
		t.Errorf("%d sealed files, want those of the model and the data set: what was refused stays", left)
	}
}

func TestAMethodOrAPathThatThereIsNot(t *testing.T) {
	h := newHall(t)
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"PATCH", "/api/v1/jobs", 405, "PATCH is not offered at /api/v1/jobs; there is GET, HEAD, POST"},
		{"POST", "/metrics", 405, "there is GET, HEAD"},
		{"GET", "/api/v1/nothing", 404, "the API has no /api/v1/nothing"},
		{"GET", "/api", 404, "the API has no /api"},
		{"GET", "/api/v2/jobs", 404, "the API has no"},
		{"GET", "/nothing", 404, "has no console"},
	} {
		a := h.as("vic", c.method, c.path, "")
		if a.code != c.code || !strings.Contains(a.body, c.says) || !strings.Contains(a.body, fmt.Sprintf(`"status":%d`, c.code)) {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.code, a.body)
		}
		if c.code == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.path)
		}
	}
	for path, want := range map[string]int{"/api/v1/jobs": 200, "/api/v1/jobs/9": 404, "/api/v1/nothing": 404, "/healthz": 200} {
		if a := h.as("vic", "HEAD", path, ""); a.code != want || a.body != "" {
			t.Errorf("HEAD %s: %d %q", path, a.code, a.body)
		}
	}
	if a := h.as("", "GET", "/api/v1/nothing", ""); a.code != http.StatusUnauthorized {
		t.Errorf("who is nobody learns what there is: %d %s", a.code, a.body)
	}
	if a := h.as("dan", "PUT", "/api/v1/jobs/1/replicas", `{"replicas":1}`, "Content-Type", "text/plain"); a.code != 400 || !strings.Contains(a.body, "send JSON") {
		t.Errorf("a form of another site: %d %s", a.code, a.body)
	}
}

// full is a registry of jobs whose disk is full, and then some.
type full struct{ api.Jobs }

func (full) List(context.Context, job.Filter) ([]job.Job, error) {
	return nil, errs.Errorf("store.list", errs.Full, "the disk of the data folder is full: free some space; nothing was changed")
}

func (full) Why(context.Context, job.ID) (job.Explanation, error) {
	return job.Explanation{}, fmt.Errorf("open /var/secret/path: %w", context.DeadlineExceeded)
}

func (full) Metrics(context.Context, job.ID, int64, int) ([]job.Metric, error) { panic("a mistake") }

func (full) Cancel(context.Context, string, job.ID) (job.Job, error) {
	return job.Job{}, fmt.Errorf("read /var/secret/path: input/output error")
}

func TestAFaultOfOursIsLoggedAndNotTold(t *testing.T) {
	h := furnished(t)
	h.o.Jobs = full{h.o.Jobs}
	h.listen()
	for _, c := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "/jobs", 507, "the disk of the data folder is full"},
		{"GET", "/jobs/1/why", 504, "took longer than"},
		{"GET", "/jobs/1/metrics", 500, "something went wrong here"},
		{"POST", "/jobs/1/cancel", 500, "something went wrong here"},
		{"GET", "/jobs/1", 200, "sleeper"}, // the server goes on
	} {
		a := h.as("ann", c.method, "/api/v1"+c.path, "")
		if a.code != c.code || !strings.Contains(a.body, c.says) || strings.Contains(a.body, "/var/secret") {
			t.Errorf("%s: %d %s", c.path, a.code, a.body)
		}
		id := a.header.Get("X-Request-Id")
		if c.code == 500 && (id == "" || !strings.Contains(a.body, id) || !strings.Contains(h.log.String(), id)) {
			t.Errorf("%s: request %q is not named in the answer and the log: %s", c.path, id, a.body)
		}
	}
	if log := h.log.String(); !strings.Contains(log, "a mistake") || !strings.Contains(log, "input/output error") {
		t.Error("the log does not say what happened")
	}
}
