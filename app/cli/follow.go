package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// This file follows a job to its end: a training run as a bar with a line for each epoch, any other as its log.

// follower follows one job.
type follower struct {
	e      *env
	c      *client.Client
	id     job.ID
	bar    *bar
	points int64 // the last point of the curves that was told
	waited string
	epochs map[int]*job.Progress // as they come together from the points
	took   map[int]float64
}

const (
	lookOften  = 200 * time.Millisecond // for the first lookings
	lookSeldom = time.Second
)

// serverBack is how long a server that restarts is waited for while a job is followed.
const serverBack = time.Minute

// follow returns the job as it ended.
func (e *env) follow(ctx context.Context, c *client.Client, id job.ID) (job.Job, error) {
	c = c.Retrying(serverBack)
	f := &follower{e: e, c: c, id: id, bar: e.bar(), epochs: map[int]*job.Progress{}, took: map[int]float64{}}
	defer f.bar.clear()
	var logs chan error // told once when every log is at its end
	for n := 0; ; n++ {
		j, err := c.Job(ctx, id)
		if err != nil {
			return j, err
		}
		f.waiting(j)
		switch {
		case j.Kind == job.Train:
			err = f.train(ctx, j)
		case logs == nil:
			logs = make(chan error, 1)
			go func() { logs <- e.allLogs(ctx, c, j) }()
		}
		if ended(j) && logs != nil {
			err = <-logs
		}
		if err != nil || ended(j) {
			return j, err
		}
		pause := lookOften
		if n > 100 {
			pause = lookSeldom
		}
		select {
		case <-ctx.Done():
			if logs != nil {
				err = <-logs
			}
			return j, errors.Join(ctx.Err(), err)
		case err := <-logs:
			if err != nil {
				return j, err
			}
			logs <- nil
		case <-time.After(pause):
		}
	}
}

func ended(j job.Job) bool {
	return j.State == job.Succeeded || j.State == job.Failed || j.State == job.Canceled
}

// waiting says once why a job waits.
func (f *follower) waiting(j job.Job) {
	if j.State != job.Queued {
		return
	}
	reason := j.Reason
	if len(j.Reasons) > 0 {
		r := j.Reasons[0]
		reason = fmt.Sprintf("%s: needs %s, offered %s", r.Constraint, r.Needed, r.Offered)
	}
	if reason != f.waited && f.waited+reason != "" && f.e.now().Sub(j.Created) > time.Second {
		f.waited = reason
		f.e.note("job/%d waits: %s; `lineshaft why job/%d` says more", j.ID, oneLine(reason), j.ID)
	}
}

// train tells every epoch that is done and draws the one that goes on.
func (f *follower) train(ctx context.Context, j job.Job) error {
	for {
		points, err := f.c.Metrics(ctx, f.id, f.points, 1000)
		if err != nil {
			return err
		}
		for _, p := range points {
			f.points = p.Seq
			f.point(p)
		}
		if len(points) < 1000 {
			break
		}
	}
	total := 0
	if j.Progress != nil {
		total = j.Progress.Epochs
	}
	f.tell(total, ended(j))
	if p := j.Progress; p == nil {
		f.bar.draw(fmt.Sprintf("job/%d %s", j.ID, j.State), -1, "")
	} else {
		f.bar.draw(fmt.Sprintf("epoch %d/%d", p.Epoch, p.Epochs), p.Fraction, live(*p))
	}
	return nil
}

func (f *follower) point(p job.Metric) {
	e := f.epochs[p.Epoch]
	if e == nil {
		e = &job.Progress{Epoch: p.Epoch}
		f.epochs[p.Epoch] = e
	}
	switch p.Name {
	case "loss":
		e.Loss = p.Value
	case "accuracy":
		e.Accuracy = p.Value
	case "val_loss":
		e.ValLoss = p.Value
	case "val_accuracy":
		e.ValAccuracy = p.Value
	case "epoch_seconds":
		f.took[p.Epoch] = p.Value
	}
}

// tell writes a line for each epoch of which all points are there: one that a later one follows, and all at the end.
func (f *follower) tell(total int, all bool) {
	for {
		first, last := 0, 0
		for n := range f.epochs {
			if first == 0 || n < first {
				first = n
			}
			last = max(last, n)
		}
		if first == 0 || first == last && !all && !f.whole(first) {
			return
		}
		p := f.epochs[first]
		delete(f.epochs, first)
		f.bar.clear()
		of := ""
		if total > 0 {
			of = fmt.Sprintf("/%d", total)
		}
		f.e.note("epoch %d%s  %s  %s", first, of, f.values(*p), span(seconds(f.took[first])))
	}
}

// whole reports whether the epoch's points are all there: they are written at once, the validation last.
func (f *follower) whole(epoch int) bool {
	_, timed := f.took[epoch]
	return timed && f.epochs[epoch].ValLoss != 0
}

// values is what an epoch came to.
func (*follower) values(p job.Progress) string {
	parts := []string{fmt.Sprintf("loss %.4f", p.Loss)}
	if p.Accuracy > 0 {
		parts = append(parts, "accuracy "+percent(p.Accuracy))
	}
	if p.ValLoss > 0 {
		parts = append(parts, fmt.Sprintf("validation loss %.4f", p.ValLoss))
	}
	if p.ValAccuracy > 0 {
		parts = append(parts, "accuracy "+percent(p.ValAccuracy))
	}
	return strings.Join(parts, "  ")
}

// live is what goes on, short enough for a line with a bar.
func live(p job.Progress) string {
	parts := []string{fmt.Sprintf("loss %.4f", p.Loss)}
	if p.Accuracy > 0 {
		parts = append(parts, "accuracy "+percent(p.Accuracy))
	}
	switch {
	case p.ValAccuracy > 0:
		parts = append(parts, "validation "+percent(p.ValAccuracy))
	case p.ValLoss > 0:
		parts = append(parts, fmt.Sprintf("validation loss %.4f", p.ValLoss))
	}
	if p.ETASeconds > 0 {
		parts = append(parts, span(seconds(p.ETASeconds))+" left")
	}
	return strings.Join(parts, "  ")
}

// outcome is the error of a job that did not end well.
func outcome(j job.Job) error {
	switch j.State {
	case job.Failed:
		return errs.Errorf("cli.outcome", errs.Other, "job/%d failed: %s; `lineshaft retry %d` runs it again", j.ID, oneLine(j.Reason), j.ID)
	case job.Canceled:
		return errs.Errorf("cli.outcome", errs.Conflict, "job/%d was canceled: %s; `lineshaft retry %d` runs it again", j.ID, oneLine(j.Reason), j.ID)
	}
	return nil
}

// interrupted reports whether the error is that the person at the keyboard wants to stop.
func interrupted(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }
