package api_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/audit"
)

// client is somebody's.
func (h *hall) client(who string) *client.Client {
	h.t.Helper()
	if who == "socket" {
		return client.Socket(h.Dir)
	}
	c, err := client.New(h.url, h.tokens[who])
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// got fails the test on an error.
func got[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestTheClientSpeaksOfJobs(t *testing.T) {
	h := newHall(t)
	ctx, c := t.Context(), h.client("dan")
	if j := got[job.Job](t)(c.Submit(ctx, []byte(sleeper), "application/yaml", true)); j.ID != 0 || !strings.Contains(j.Reason, "would") {
		t.Errorf("%+v", j)
	}
	j := got[job.Job](t)(c.Submit(ctx, []byte(sleeper), "application/yaml", false))
	j = h.await(j.ID, job.Running)
	h.machine.log(job.TaskRef(j, j.Tasks[0])).write("hello\n")
	if j = got[job.Job](t)(c.Job(ctx, j.ID)); j.State != job.Running {
		t.Errorf("%+v", j)
	}
	log := got[io.ReadCloser](t)(c.Logs(ctx, j.ID, 0, 2, false))
	if b := got[[]byte](t)(io.ReadAll(log)); string(b) != "llo\n" {
		t.Errorf("%q", b)
	}
	log.Close()
	if why := got[job.Explanation](t)(c.Why(ctx, j.ID)); !strings.Contains(why.Summary, "running") {
		t.Errorf("%+v", why)
	}
	var points []job.Metric
	for i := range 2500 {
		points = append(points, job.Metric{Step: int64(i), Name: "loss", Value: float64(i)})
	}
	if err := h.Store.AppendMetrics(ctx, j.ID, 0, 1, 0, 100, points); err != nil {
		t.Fatal(err)
	}
	if all := got[[]job.Metric](t)(c.Metrics(ctx, j.ID, 0, 0)); len(all) != 2500 || all[2499].Value != 2499 {
		t.Errorf("%d points", len(all))
	}
	if some := got[[]job.Metric](t)(c.Metrics(ctx, j.ID, 2490, 5)); len(some) != 5 || some[0].Seq != 2491 {
		t.Errorf("%+v", some)
	}
	got[job.Job](t)(c.Cancel(ctx, j.ID, false))
	h.await(j.ID, job.Canceled)
	got[job.Job](t)(c.Retry(ctx, j.ID, false))
	h.await(j.ID, job.Running)
	web := h.submit("dan", "name: web\nkind: service\ncommand: [serve]\n")
	h.await(web.ID, job.Running)
	if web = got[job.Job](t)(c.SetReplicas(ctx, web.ID, 2, false)); web.Spec.Tasks != 2 {
		t.Errorf("%+v", web.Spec)
	}
	if jobs := got[[]job.Job](t)(c.Jobs(ctx, job.Filter{Owner: "dan", Limit: 1})); len(jobs) != 1 || jobs[0].ID != web.ID {
		t.Errorf("%+v", jobs)
	}
	if _, err := c.Job(ctx, 99); !errs.Is(err, errs.NotFound) || err.Error() != "no job 99; `lineshaft jobs` lists them" {
		t.Errorf("%v", err)
	}
}

func TestTheClientSpeaksOfModelsAndServices(t *testing.T) {
	h := newHall(t)
	ctx, c := t.Context(), h.client("dan")
	set, err := c.ImportData(ctx, "digits", strings.NewReader(tarOf(t, "a.txt", "one")), false)
	if err != nil || set.Ref() != "digits@1" || set.Owner != "dan" {
		t.Fatalf("%+v, %v", set, err)
	}
	if set, err = c.DataSet(ctx, "digits@1"); err != nil || len(set.Files) != 1 {
		t.Errorf("%+v, %v", set, err)
	}
	if sets, err := c.DataSets(ctx); err != nil || len(sets) != 1 {
		t.Errorf("%+v, %v", sets, err)
	}
	if code, err := c.UploadCode(ctx, strings.NewReader("code"), false); err != nil || !strings.HasPrefix(code.Digest, "sha256:") {
		t.Errorf("%+v, %v", code, err)
	}
	v := got[model.Version](t)(c.UploadModel(ctx, "mnist", "model.keras", strings.NewReader("weights"), false))
	if v.Version != 1 || v.Format != model.KerasZip {
		t.Errorf("%+v", v)
	}
	got[model.Model](t)(c.SetAlias(ctx, "mnist", "prod", 1, false))
	if m := got[api.ModelDetail](t)(c.Model(ctx, "mnist")); m.Aliases["prod"] != 1 || len(m.Items) != 1 || m.Items[0].Digest != v.Digest {
		t.Errorf("%+v", m)
	}
	got[model.Version](t)(c.Version(ctx, "mnist", 1))
	body := got[io.ReadCloser](t)(c.Export(ctx, "mnist", 1, ""))
	defer body.Close()
	if b := got[[]byte](t)(io.ReadAll(body)); string(b) != "weights" {
		t.Errorf("%q", b)
	}
	if s, err := c.Deploy(ctx, "mnist", 0, "prod", false); err != nil || s.Default != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err := c.Service(ctx, "mnist"); err != nil || len(s.Versions) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, label := range []string{"", "prod"} {
		if answer, err := c.Predict(ctx, "mnist", 0, label, []byte(`{"instances":[[1],[2.5]]}`)); err != nil || !bytes.Contains(answer, []byte("5")) {
			t.Errorf("%s, %v", answer, err)
		}
	}
	if _, err := c.Predict(ctx, "mnist", 0, "none", []byte(`{"instances":[[1]]}`)); err == nil || !strings.Contains(err.Error(), "labels: prod") {
		t.Errorf("%v", err)
	}
	if err := c.Undeploy(ctx, "mnist", false); err != nil {
		t.Error(err)
	}
	if all, err := c.Services(ctx); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if m := got[model.Model](t)(c.DeleteAlias(ctx, "mnist", "prod", false)); len(m.Aliases) != 0 {
		t.Errorf("%+v", m)
	}
	if all := got[[]model.Model](t)(c.Models(ctx)); len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

func TestTheClientSpeaksOfTheHall(t *testing.T) {
	h := furnished(t)
	ctx, c := t.Context(), h.client("socket")
	o := got[api.Overview](t)(c.Overview(ctx))
	if o.Jobs[job.Running] != 2 || o.CPUUsed != 2 || o.CPUTotal != 4 || o.Models != 1 || o.Services != 1 || len(o.Events) == 0 || o.Version != "test" {
		t.Errorf("%+v", o)
	}
	if n, err := c.Cordon(ctx, "here", "fan", false); err != nil || !n.Cordoned || n.Reason != "fan" {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := c.Uncordon(ctx, "here", false); err != nil || n.Cordoned {
		t.Errorf("%+v, %v", n, err)
	}
	if nodes, err := c.Fleet(ctx); err != nil || len(nodes) != 1 {
		t.Errorf("%+v, %v", nodes, err)
	}
	if p := got[control.PolicyInfo](t)(c.SetMode(ctx, "restart", control.Advise, false)); p.Mode != control.Advise {
		t.Errorf("%+v", p)
	}
	got[[]control.PolicyInfo](t)(c.Policies(ctx))
	j := got[job.Job](t)(c.Job(ctx, 2))
	h.machine.exit(job.TaskRef(j, j.Tasks[0]), 137) // a replica dies, and the policy asks a person
	for _, err := range c.Events(ctx, []string{"actions"}, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if open := got[[]control.Action](t)(c.Actions(ctx, true)); len(open) > 0 {
			if a := got[control.Action](t)(c.Approve(ctx, open[0].ID, false)); a.By != "user/admin" {
				t.Errorf("%+v", a)
			}
			break
		}
	}
	if entries := got[[]audit.Entry](t)(c.Audit(ctx, audit.Filter{Action: "node."})); len(entries) != 2 || entries[0].Action != "node.uncordoned" {
		t.Errorf("%+v", entries)
	}
	if r := got[audit.Report](t)(c.VerifyAudit(ctx)); !r.OK || r.Entries == 0 {
		t.Errorf("%+v", r)
	}
	if r, err := c.RotateKeys(ctx, false); err != nil || r.Rewrapped != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTheClientSpeaksOfAccounts(t *testing.T) {
	h := newHall(t)
	ctx, c := t.Context(), h.client("ann")
	if u := got[access.User](t)(c.CreateUser(ctx, api.NewUser{Name: "new", Role: "viewer", Password: "a long pass phrase"}, false)); u.Role != access.Viewer {
		t.Errorf("%+v", u)
	}
	role := "developer"
	if u := got[access.User](t)(c.ChangeUser(ctx, "new", api.UserChange{Role: &role}, false)); u.Role != access.Developer {
		t.Errorf("%+v", u)
	}
	made := got[api.MadeToken](t)(c.CreateToken(ctx, api.NewToken{Name: "ci", User: "new", Role: "viewer", Scopes: []string{"read"}, TTL: job.Duration(time.Hour)}, false))
	as := c.As(made.Secret)
	if me := got[api.Me](t)(as.Me(ctx)); me.Name != "new" || me.Via != "token" {
		t.Errorf("%+v", me)
	}
	if _, err := as.Submit(ctx, []byte(sleeper), "", false); !errs.Is(err, errs.Denied) {
		t.Errorf("%v", err)
	}
	if tokens := got[[]access.Token](t)(c.Tokens(ctx)); !slices.ContainsFunc(tokens, func(k access.Token) bool { return k.ID == made.ID }) {
		t.Errorf("%+v", tokens)
	}
	if err := c.RevokeToken(ctx, made.ID, false); err != nil {
		t.Error(err)
	}
	if _, err := as.Me(ctx); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("%v", err)
	}
	g := got[access.Grant](t)(c.CreateGrant(ctx, api.NewGrant{User: "new", Actions: []string{"export"}, Type: "model", Name: "*"}, false))
	if all := got[[]access.Grant](t)(c.Grants(ctx)); len(all) != 1 || all[0].ID != g.ID {
		t.Errorf("%+v", all)
	}
	if err := c.DeleteGrant(ctx, g.ID, false); err != nil {
		t.Error(err)
	}
	value := []byte("\xff binary")
	if s, err := c.SetSecret(ctx, "hub", value, false); err != nil || s.Owner != "ann" {
		t.Errorf("%+v, %v", s, err)
	}
	if b := got[[]byte](t)(h.secrets.Value(ctx, "hub")); !bytes.Equal(b, value) {
		t.Errorf("%q", b)
	}
	if all, err := c.Secrets(ctx); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if err := c.DeleteSecret(ctx, "hub", false); err != nil {
		t.Error(err)
	}
	if l := got[api.Link](t)(c.LinkUser(ctx, "new")); !strings.HasPrefix(l.Path, "/signin#") {
		t.Errorf("%+v", l)
	}
	if err := c.DeleteUser(ctx, "new", false); err != nil {
		t.Error(err)
	}
	if _, err := c.User(ctx, "new"); !errs.Is(err, errs.NotFound) {
		t.Errorf("%v", err)
	}
	if all := got[[]access.User](t)(c.Users(ctx)); len(all) != len(people) {
		t.Errorf("%+v", all)
	}
}

func TestTheClientRunsAProgramBesideATask(t *testing.T) {
	h := newHall(t)
	h.await(h.submit("dan", sleeper).ID, job.Running)
	for _, name := range []string{"dan", "socket"} {
		var out, stderr bytes.Buffer
		code, err := h.client(name).Exec(t.Context(), 1, 0, client.Program{Argv: []string{"tr", "a, b"}, Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: &stderr})
		if err != nil || code != 7 || out.String() != "HELLO\n" || stderr.String() != "argv [\"tr\" \"a, b\"]\n" {
			t.Errorf("%s: %d, %v, %q, %q", name, code, err, &out, &stderr)
		}
	}
	sizes := make(chan api.ExecSize, 1)
	sizes <- api.ExecSize{Rows: 50, Cols: 132}
	var out bytes.Buffer
	code, err := h.client("dan").Exec(t.Context(), 1, 0, client.Program{TTY: true, Term: "xterm", Size: api.ExecSize{Rows: 24, Cols: 80}, Resize: sizes, Stdout: &out})
	if err != nil || code != 7 || out.String() != "terminal xterm 24x80\nresized 50x132\n" {
		t.Errorf("%d, %v, %q", code, err, &out)
	}
	if _, err := h.client("eve").Exec(t.Context(), 1, 0, client.Program{}); !errs.Is(err, errs.Denied) || !strings.Contains(err.Error(), "belongs to dan") {
		t.Errorf("%v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.client("dan").Exec(gone, 1, 0, client.Program{}); !errs.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
}
