package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// arrayID reads "array/12"; false for what names no array.
func arrayID(ref string) (job.ID, bool) {
	text, ok := strings.CutPrefix(ref, "array/")
	n, err := strconv.ParseInt(text, 10, 64)
	return job.ID(n), ok && err == nil && n > 0
}

// order is how states are told, what goes on first.
var order = []job.State{job.Running, job.Starting, job.Stopping, job.Queued, job.Failed, job.Canceled, job.Succeeded}

// folded is the state of an array in one word: what still goes on, else the worst end.
func folded(m *job.Member) job.State {
	for _, s := range order {
		if m.Members[s] > 0 {
			return s
		}
	}
	return ""
}

// members counts an array's jobs by state: "2 of 10: 1 running, 1 queued".
func members(m *job.Member) string {
	var out []string
	for _, s := range order {
		if n := m.Members[s]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(out, ", ")
}

// nameOf is the job's name, with its place in an array.
func nameOf(j job.Job) string {
	if j.Array == nil {
		return j.Name
	}
	return fmt.Sprintf("%s[%d]", j.Name, j.Array.Index)
}

// memberOf says which job of which array it is, and what is its own.
func memberOf(j job.Job) string {
	if j.Array == nil {
		return ""
	}
	s := fmt.Sprintf("array/%d, its job %d of 0 to %d", j.Array.ID, j.Array.Index, j.Array.Count-1)
	if j.Spec.Array == nil {
		return s
	}
	own := j.Spec.Array.Values(j.Array.Index)
	for _, name := range slices.Sorted(maps.Keys(own)) {
		s += ", " + name + "=" + own[name]
	}
	return s
}

func (e *env) showArray(ctx context.Context, id job.ID) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	head, err := c.Array(ctx, id)
	if err != nil {
		return err
	}
	if !e.human() {
		return e.show(head, nil)
	}
	jobs, err := c.Jobs(ctx, job.Filter{Array: id})
	if err != nil {
		return err
	}
	limit := ""
	if n := head.Spec.Array.Limit; n > 0 {
		limit = fmt.Sprintf("%d at once", n)
	}
	return e.show(head, func(w io.Writer) {
		e.details(w, "array", id, "name", head.Name, "jobs", fmt.Sprintf("%d: %s", head.Array.Count, members(head.Array)), "limit", limit,
			"owner", head.Owner, "command", shellWords(head.Spec.Command), "each task", asks(head.Spec.Resources), "created", e.when(head.Created))
		fmt.Fprintln(w)
		t := newTable("", "JOB>", "INDEX>", "VALUES", "STATE", "TOOK>", "REASON")
		for _, j := range slices.Backward(jobs) {
			own := j.Spec.Array.Values(j.Array.Index)
			var values []string
			for _, name := range slices.Sorted(maps.Keys(own)) {
				values = append(values, name+"="+own[name])
			}
			t.row(j.ID, j.Array.Index, strings.Join(values, " "), j.State, e.took(j), j.Reason)
		}
		e.print(w, t)
	})
}

// waiting is the job of the array that stands for it in `why`: the first that waits, else the first that runs, else the
// first.
func (e *env) waiting(ctx context.Context, c *client.Client, id job.ID) (job.ID, error) {
	jobs, err := c.Jobs(ctx, job.Filter{Array: id})
	if err != nil {
		return 0, err
	}
	if len(jobs) == 0 {
		return 0, errs.Errorf("cli.why", errs.NotFound, "no array %d; `lineshaft jobs` lists them", id)
	}
	slices.Reverse(jobs)
	for _, s := range []job.State{job.Queued, job.Running} {
		if i := slices.IndexFunc(jobs, func(j job.Job) bool { return j.State == s }); i >= 0 {
			return jobs[i].ID, nil
		}
	}
	return jobs[0].ID, nil
}
