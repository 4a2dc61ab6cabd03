package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/train"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Jobs owns the jobs; *job.Runner does.
type Jobs interface {
	Submit(ctx context.Context, actor, owner string, s job.Spec, dryRun bool) (job.Job, error)
	Get(ctx context.Context, id job.ID) (job.Job, error)
	List(ctx context.Context, f job.Filter) ([]job.Job, error)
	Cancel(ctx context.Context, actor string, id job.ID) (job.Job, error)
	Retry(ctx context.Context, actor string, id job.ID) (job.Job, error)
	Array(ctx context.Context, id job.ID) (job.Job, error)
	CancelArray(ctx context.Context, actor string, id job.ID) (job.Job, error)
	RetryArray(ctx context.Context, actor string, id job.ID) (job.Job, error)
	SetReplicas(ctx context.Context, actor string, id job.ID, n int) (job.Job, error)
	Why(ctx context.Context, id job.ID) (job.Explanation, error)
	Uses(ctx context.Context, id job.ID) ([]job.Use, error)
	Plan(ctx context.Context) (job.PlanView, error)
	Metrics(ctx context.Context, id job.ID, after int64, limit int) ([]job.Metric, error)
	Logs(ctx context.Context, id job.ID, task int, offset int64, follow bool) (io.ReadCloser, error)
	Attempt(ctx context.Context, id job.ID, task int) (exec.TaskRef, error)
}

// JobPath names a job.
type JobPath struct {
	ID job.ID `path:"id" minimum:"1"`
}

type jobChange struct {
	JobPath
	Change
}

// Replicas is how many replicas a service is to have.
type Replicas struct {
	Replicas int `json:"replicas"`
}

func (s *server) jobRoutes() {
	stream(s, route{
		method: http.MethodPost, path: "/jobs", summary: "Submit a job, described in YAML or JSON", slow: true,
		takes: "application/yaml application/json", answer: typeOf[job.Job](),
	}, s.submit)
	get(s, "/jobs", "List jobs, newest first", s.listJobs)
	get(s, "/jobs/{id}", "One job", func(ctx context.Context, in *JobPath) (job.Job, error) { return s.job(ctx, in.ID, "read") })
	get(s, "/jobs/{id}/why", "Why a job is as it is", s.whyJob)
	get(s, "/jobs/{id}/usage", "What a job's running tasks use, are granted and were promised", s.jobUsage)
	get(s, "/plan", "What runs and until when, what waits for what, and how the queues share", s.plan)
	get(s, "/jobs/{id}/metrics", "A job's curves, in the order in which the points came", s.jobMetrics)
	send(s, route{method: http.MethodPost, path: "/jobs/{id}/cancel", summary: "End a job"}, s.cancelJob)
	send(s, route{method: http.MethodPost, path: "/jobs/{id}/retry", summary: "Run a job that failed or was canceled again"}, s.retryJob)
	get(s, "/arrays/{id}", "A job array: its first job, with how many are in each state", func(ctx context.Context, in *JobPath) (job.Job, error) { return s.array(ctx, in.ID, "read") })
	send(s, route{method: http.MethodPost, path: "/arrays/{id}/cancel", summary: "End all jobs of an array"}, s.changeArray("cancel", Jobs.CancelArray))
	send(s, route{method: http.MethodPost, path: "/arrays/{id}/retry", summary: "Run those jobs of an array again that failed or were canceled"}, s.changeArray("update", Jobs.RetryArray))
	send(s, route{method: http.MethodPut, path: "/jobs/{id}/replicas", summary: "Change how many replicas a service has"}, s.setReplicas)
	stream(s, route{method: http.MethodGet, path: "/jobs/{id}/logs", summary: "What a task wrote to standard output and error", slow: true, gives: "text/plain"}, s.jobLogs)
}

func jobResource(j job.Job) access.Resource {
	return access.Resource{Type: "job", Name: j.ID.String(), Owner: j.Owner}
}

// job finds a job that the caller may do the action to.
func (s *server) job(ctx context.Context, id job.ID, action string) (job.Job, error) {
	j, err := s.o.Jobs.Get(ctx, id)
	if err == nil {
		err = s.allow(ctx, action, jobResource(j))
	}
	return j, hidden(err, jobResource(job.Job{ID: id}))
}

func (s *server) submit(w http.ResponseWriter, r *http.Request, in *Change) error {
	ctx, who := r.Context(), callOf(r.Context()).who
	if err := s.allow(ctx, "create", access.Resource{Type: "job", Owner: who.Name}); err != nil {
		return err
	}
	text, err := read(w, r, manifest.MaxSize)
	if err != nil {
		return err
	}
	spec, err := job.Parse(text, manifest.Section{Path: "train", Type: train.Config{}})
	if err != nil {
		return err
	}
	if err := s.checkSpec(ctx, spec); err != nil {
		return err
	}
	j, err := s.o.Jobs.Submit(ctx, who.Actor(), who.Name, spec, in.DryRun)
	if err != nil {
		return err
	}
	return writeJSON(w, j)
}

// checkSpec looks at what a specification speaks of: it must be there, and the submitter must be allowed to use it.
func (s *server) checkSpec(ctx context.Context, spec job.Spec) error {
	const op = "api.checkSpec"
	if err := s.checkServe(ctx, spec); err != nil {
		return err
	}
	if spec.Kind == job.Train {
		var cfg train.Config
		if err := json.NewDecoder(bytes.NewReader(spec.Train)).Decode(&cfg); err != nil {
			return errs.Errorf(op, errs.Invalid, "train: %v", err)
		}
		if err := cfg.Validate(); err != nil {
			return err
		}
	}
	for _, ref := range spec.Data {
		if _, err := s.set(ctx, ref, "read"); err != nil {
			return err
		}
	}
	for _, ref := range spec.Secrets {
		if _, err := s.secret(ctx, ref.Name, "read"); err != nil {
			return err
		}
	}
	if spec.Code != "" {
		if err := s.allow(ctx, "read", access.Resource{Type: "code", Name: spec.Code}); err != nil {
			return err
		}
		if _, err := s.o.Code.Info(ctx, spec.Code); err != nil {
			return err
		}
	}
	if spec.Register == "" {
		return nil
	}
	return s.allow(ctx, "create", modelResource(spec.Register))
}

type jobList struct {
	State job.State `query:"state" enum:"queued,starting,running,stopping,succeeded,failed,canceled"`
	Owner string    `query:"owner"`
	Array job.ID    `query:"array" minimum:"0" doc:"only the jobs of this array"`
	Fold  bool      `query:"fold" doc:"of each array only its first job, with how many are in each state"`
	Listing
}

func (s *server) listJobs(ctx context.Context, in *jobList) (Page[job.Job], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "job"}); err != nil {
		return Page[job.Job]{}, err
	}
	fetch := func(after string, n int) ([]job.Job, error) {
		id, err := strconv.ParseInt(after, 10, 64)
		if after != "" && (err != nil || id < 1) {
			return nil, errs.Errorf("api.listJobs", errs.Invalid, "after=%s is not the next of a page of jobs", after)
		}
		return s.o.Jobs.List(ctx, job.Filter{State: in.State, Owner: in.Owner, Array: in.Array, Fold: in.Fold, After: job.ID(id), Limit: n})
	}
	return collect(in.After, in.Limit, fetch,
		func(j job.Job) (bool, error) { return s.visible(ctx, jobResource(j)) },
		func(j job.Job) string { return j.ID.String() })
}

func (s *server) whyJob(ctx context.Context, in *JobPath) (job.Explanation, error) {
	if _, err := s.job(ctx, in.ID, "read"); err != nil {
		return job.Explanation{}, err
	}
	return s.o.Jobs.Why(ctx, in.ID)
}

func (s *server) jobUsage(ctx context.Context, in *JobPath) (Page[job.Use], error) {
	if _, err := s.job(ctx, in.ID, "read"); err != nil {
		return Page[job.Use]{}, err
	}
	uses, err := s.o.Jobs.Uses(ctx, in.ID)
	return Page[job.Use]{Items: filled(uses)}, err
}

// plan leaves out the jobs of which the caller may not know; the queues' sums have them in.
func (s *server) plan(ctx context.Context, _ *struct{}) (job.PlanView, error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "job"}); err != nil {
		return job.PlanView{}, err
	}
	v, err := s.o.Jobs.Plan(ctx)
	if err != nil {
		return v, err
	}
	hidden := func(id job.ID, owner string) bool {
		if err == nil {
			var seen bool
			seen, err = s.visible(ctx, access.Resource{Type: "job", Name: id.String(), Owner: owner})
			return !seen
		}
		return true
	}
	v.Running = slices.DeleteFunc(v.Running, func(r job.PlannedRun) bool { return hidden(r.Job, r.Owner) })
	v.Waiting = slices.DeleteFunc(v.Waiting, func(w job.PlannedWait) bool { return hidden(w.Job, w.Owner) })
	return v, err
}

type metricList struct {
	JobPath
	After int64 `query:"after" minimum:"0" doc:"only points with a larger number"`
	Limit int   `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
}

func (s *server) jobMetrics(ctx context.Context, in *metricList) (Page[job.Metric], error) {
	if _, err := s.job(ctx, in.ID, "read"); err != nil {
		return Page[job.Metric]{}, err
	}
	points, err := s.o.Jobs.Metrics(ctx, in.ID, in.After, in.Limit)
	page := Page[job.Metric]{Items: points}
	if len(points) == in.Limit {
		page.Next = strconv.FormatInt(points[len(points)-1].Seq, 10)
	}
	if points == nil {
		page.Items = []job.Metric{}
	}
	return page, err
}

func (s *server) cancelJob(ctx context.Context, in *jobChange, _ none) (job.Job, error) {
	j, err := s.job(ctx, in.ID, "cancel")
	if err != nil || in.DryRun {
		return j, err
	}
	return s.o.Jobs.Cancel(ctx, callOf(ctx).who.Actor(), in.ID)
}

func (s *server) retryJob(ctx context.Context, in *jobChange, _ none) (job.Job, error) {
	j, err := s.job(ctx, in.ID, "update")
	if err != nil || in.DryRun {
		return j, err
	}
	return s.o.Jobs.Retry(ctx, callOf(ctx).who.Actor(), in.ID)
}

// array finds an array by its first job, which stands for all of them: they have one owner.
func (s *server) array(ctx context.Context, id job.ID, action string) (job.Job, error) {
	j, err := s.o.Jobs.Array(ctx, id)
	if err == nil {
		err = s.allow(ctx, action, jobResource(j))
	}
	return j, hidden(err, access.Resource{Type: "array", Name: id.String()})
}

func (s *server) changeArray(action string, change func(Jobs, context.Context, string, job.ID) (job.Job, error)) func(context.Context, *jobChange, none) (job.Job, error) {
	return func(ctx context.Context, in *jobChange, _ none) (job.Job, error) {
		j, err := s.array(ctx, in.ID, action)
		if err != nil || in.DryRun {
			return j, err
		}
		return change(s.o.Jobs, ctx, callOf(ctx).who.Actor(), in.ID)
	}
}

func (s *server) setReplicas(ctx context.Context, in *jobChange, body Replicas) (job.Job, error) {
	j, err := s.job(ctx, in.ID, "update")
	if err != nil || in.DryRun {
		return j, err
	}
	return s.o.Jobs.SetReplicas(ctx, callOf(ctx).who.Actor(), in.ID, body.Replicas)
}

type logQuery struct {
	JobPath
	Task   int   `query:"task" minimum:"0"`
	Offset int64 `query:"offset" minimum:"0" doc:"bytes to pass over"`
	Follow bool  `query:"follow" doc:"wait for more until the attempt ends"`
}

func (s *server) jobLogs(w http.ResponseWriter, r *http.Request, in *logQuery) error {
	if _, err := s.job(r.Context(), in.ID, "read"); err != nil {
		return err
	}
	log, err := s.o.Jobs.Logs(r.Context(), in.ID, in.Task, in.Offset, in.Follow)
	if err != nil {
		return err
	}
	defer log.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	return pipe(w, log)
}

// pipe sends a stream on piece by piece, each as soon as it is there.
func pipe(w http.ResponseWriter, from io.Reader) error {
	const op = "api.pipe"
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	_ = flush() // a connection that is gone shows at the next write
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return errs.E(op, errs.Canceled, err)
			}
			_ = flush()
		}
		if err == io.EOF { // io.Reader's contract
			return nil
		}
		if err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
}
