package client

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/job"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func jobPath(id job.ID) string { return base + "/jobs/" + id.String() }

// Submit sends a job's specification as it was written, in YAML or JSON.
func (c *Client) Submit(ctx context.Context, spec []byte, contentType string, dryRun bool) (job.Job, error) {
	var j job.Job
	err := c.answer(ctx, request{
		method: http.MethodPost, path: base + "/jobs", query: dry(dryRun), body: bytes.NewReader(spec), contentType: contentType, accept: "application/json",
	}, &j)
	return j, err
}

// Job is one job.
func (c *Client) Job(ctx context.Context, id job.ID) (job.Job, error) {
	return get[job.Job](ctx, c, jobPath(id), nil)
}

// Jobs lists jobs, newest first: all of them where the filter has no limit.
func (c *Client) Jobs(ctx context.Context, f job.Filter) ([]job.Job, error) {
	q := url.Values{}
	if f.State != "" {
		q.Set("state", string(f.State))
	}
	if f.Owner != "" {
		q.Set("owner", f.Owner)
	}
	if f.Array > 0 {
		q.Set("array", f.Array.String())
	}
	if f.Fold {
		q.Set("fold", "true")
	}
	l := List{Limit: f.Limit}
	if f.After > 0 {
		l.After = f.After.String()
	}
	jobs, _, err := all[job.Job](ctx, c, base+"/jobs", q, l)
	return jobs, err
}

// Cancel ends a job.
func (c *Client) Cancel(ctx context.Context, id job.ID, dryRun bool) (job.Job, error) {
	return change[job.Job](ctx, c, http.MethodPost, jobPath(id)+"/cancel", dry(dryRun), nil)
}

// Retry runs a job that failed or was canceled again.
func (c *Client) Retry(ctx context.Context, id job.ID, dryRun bool) (job.Job, error) {
	return change[job.Job](ctx, c, http.MethodPost, jobPath(id)+"/retry", dry(dryRun), nil)
}

func arrayPath(id job.ID) string { return base + "/arrays/" + id.String() }

// Array is a job array: its first job, with how many are in each state.
func (c *Client) Array(ctx context.Context, id job.ID) (job.Job, error) {
	return get[job.Job](ctx, c, arrayPath(id), nil)
}

// CancelArray ends all jobs of an array.
func (c *Client) CancelArray(ctx context.Context, id job.ID, dryRun bool) (job.Job, error) {
	return change[job.Job](ctx, c, http.MethodPost, arrayPath(id)+"/cancel", dry(dryRun), nil)
}

// RetryArray runs those jobs of an array again that failed or were canceled.
func (c *Client) RetryArray(ctx context.Context, id job.ID, dryRun bool) (job.Job, error) {
	return change[job.Job](ctx, c, http.MethodPost, arrayPath(id)+"/retry", dry(dryRun), nil)
}

// SetReplicas changes how many replicas a service has.
func (c *Client) SetReplicas(ctx context.Context, id job.ID, n int, dryRun bool) (job.Job, error) {
	return change[job.Job](ctx, c, http.MethodPut, jobPath(id)+"/replicas", dry(dryRun), api.Replicas{Replicas: n})
}

// Why explains a job.
func (c *Client) Why(ctx context.Context, id job.ID) (job.Explanation, error) {
	return get[job.Explanation](ctx, c, jobPath(id)+"/why", nil)
}

// Uses tells what a job's running tasks use, are granted and were promised.
func (c *Client) Uses(ctx context.Context, id job.ID) ([]job.Use, error) {
	page, err := get[api.Page[job.Use]](ctx, c, jobPath(id)+"/usage", nil)
	return page.Items, err
}

// Plan is what runs, what waits, and how the queues share.
func (c *Client) Plan(ctx context.Context) (job.PlanView, error) {
	return get[job.PlanView](ctx, c, base+"/plan", nil)
}

// Metrics lists a job's points after a number: at most limit, or all that there are with 0.
func (c *Client) Metrics(ctx context.Context, id job.ID, after int64, limit int) ([]job.Metric, error) {
	l := List{Limit: limit}
	if after > 0 {
		l.After = itoa(after)
	}
	points, _, err := all[job.Metric](ctx, c, jobPath(id)+"/metrics", nil, l)
	return points, err
}

// Logs reads the log of a task's newest attempt from an offset; following ends when the attempt does. The caller closes.
func (c *Client) Logs(ctx context.Context, id job.ID, task int, offset int64, follow bool) (io.ReadCloser, error) {
	q := url.Values{}
	if task > 0 {
		q.Set("task", strconv.Itoa(task))
	}
	if offset > 0 {
		q.Set("offset", itoa(offset))
	}
	if follow {
		q.Set("follow", "true")
	}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: jobPath(id) + "/logs", query: q})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
