package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// This file reads how people name things: "12", "job/12" or a job's name; "mnist", "mnist:3" or "mnist@prod".

// jobID finds the job that is meant; a name means its newest job.
func jobID(ctx context.Context, c *client.Client, ref string) (job.ID, error) {
	const op = "cli.jobID"
	if strings.HasPrefix(ref, "array/") {
		return 0, errs.Errorf(op, errs.Invalid, "%q is an array, and this is for one job: `lineshaft jobs show %s` lists its jobs", ref, ref)
	}
	text := strings.TrimPrefix(ref, "job/")
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return job.ID(n), nil
	}
	jobs, err := c.Jobs(ctx, job.Filter{})
	if err != nil {
		return 0, err
	}
	for _, j := range jobs {
		if j.Name == text {
			return j.ID, nil
		}
	}
	return 0, errs.Errorf(op, errs.NotFound, "no job %q, by number or name; `lineshaft jobs` lists them", ref)
}

// job finds the job that is meant, and the server that has it.
func (e *env) job(ctx context.Context, ref string) (*client.Client, job.ID, error) {
	c, err := e.connect()
	if err != nil {
		return nil, 0, err
	}
	id, err := jobID(ctx, c, ref)
	return c, id, err
}

// modelRef is a model, and perhaps one of its versions by number or by alias.
type modelRef struct {
	name    string
	version int64
	alias   string
}

func parseModel(ref string) (modelRef, error) {
	const op = "cli.parseModel"
	ref = strings.TrimPrefix(ref, "model/")
	if name, alias, ok := strings.Cut(ref, "@"); ok && name != "" && alias != "" {
		return modelRef{name: name, alias: alias}, nil
	}
	name, text, ok := strings.Cut(ref, ":")
	if !ok && name != "" && !strings.Contains(name, "@") {
		return modelRef{name: name}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || name == "" {
		return modelRef{}, errs.Errorf(op, errs.Invalid, "%q names no model: write for example mnist, mnist:3 or mnist@prod", ref)
	}
	return modelRef{name: name, version: n}, nil
}

// resolve gives the number of the version that is meant; without one, the newest.
func (r modelRef) resolve(ctx context.Context, c *client.Client) (int64, error) {
	const op = "cli.resolve"
	if r.version > 0 {
		return r.version, nil
	}
	m, err := c.Model(ctx, r.name)
	if err != nil {
		return 0, err
	}
	if r.alias == "" {
		return m.Latest, nil
	}
	if v, ok := m.Aliases[r.alias]; ok {
		return v, nil
	}
	return 0, errs.Errorf(op, errs.NotFound, "model %q has no alias %q; `lineshaft models show %s` lists them", r.name, r.alias, r.name)
}
