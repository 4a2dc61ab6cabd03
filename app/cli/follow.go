package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	logs   []*logStream
}

// logStream is the log of one task, whose attempts are read one after the other.
type logStream struct {
	attempt int
	running chan error // closed at the attempt's end; nil when none is read
}

const (
	lookOften  = 200 * time.Millisecond // for the first lookings
	lookSeldom = time.Second
)

// follow returns the job as it ended.
func (e *env) follow(ctx context.Context, c *client.Client, id job.ID) (job.Job, error) {
	f := &follower{e: e, c: c, id: id, bar: e.bar(), epochs: map[int]*job.Progress{}, took: map[int]float64{}}
	defer f.bar.clear()
	for n := 0; ; n++ {
		j, err := c.Job(ctx, id)
		if err != nil {
			return j, err
		}
		f.waiting(j)
		if j.Kind == job.Train {
			err = f.train(ctx, j)
		} else {
			err = f.log(ctx, j)
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
			return j, ctx.Err()
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
		f.e.note("job/%d waits: %s", j.ID, oneLine(reason))
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
	switch p := j.Progress; {
	case p == nil:
		f.bar.draw(fmt.Sprintf("job/%d %s", j.ID, j.State), -1, "")
	default:
		f.bar.draw(fmt.Sprintf("epoch %d/%d", p.Epoch, p.Epochs), p.Fraction, f.values(*p)+"  "+span(seconds(p.ETASeconds))+" left")
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

func (*follower) values(p job.Progress) string {
	parts := []string{fmt.Sprintf("loss %.4f", p.Loss)}
	if p.Accuracy > 0 {
		parts = append(parts, fmt.Sprintf("accuracy %.2f%%", 100*p.Accuracy))
	}
	if p.ValLoss > 0 {
		parts = append(parts, fmt.Sprintf("validation loss %.4f", p.ValLoss))
	}
	if p.ValAccuracy > 0 {
		parts = append(parts, fmt.Sprintf("accuracy %.2f%%", 100*p.ValAccuracy))
	}
	return strings.Join(parts, "  ")
}

// log streams the log of every attempt of every task, several tasks with their number before each line.
func (f *follower) log(ctx context.Context, j job.Job) error {
	for len(f.logs) < len(j.Tasks) {
		f.logs = append(f.logs, &logStream{})
	}
	for i, t := range j.Tasks {
		s := f.logs[i]
		if s.running != nil {
			if !ended(j) {
				select {
				case err := <-s.running:
					s.running = nil
					if err != nil {
						return err
					}
				default:
				}
				continue
			}
			err := <-s.running
			s.running = nil
			if err != nil {
				return err
			}
		}
		if t.Attempt > s.attempt {
			s.attempt = t.Attempt
			s.running = f.stream(ctx, t.Index, len(j.Tasks) > 1)
			if ended(j) {
				if err := <-s.running; err != nil {
					return err
				}
				s.running = nil
			}
		}
	}
	return nil
}

func (f *follower) stream(ctx context.Context, task int, several bool) chan error {
	done := make(chan error, 1)
	var w io.Writer = f.e.out
	if several {
		w = &prefixed{w: f.e.out, prefix: fmt.Sprintf("[%d] ", task), start: true}
	}
	go func() {
		err := f.e.copyLog(ctx, f.c, f.id, task, 0, true, w)
		if errs.Is(err, errs.NotFound) {
			err = nil // nothing was written, or a newer attempt has taken its place
		}
		done <- err
	}()
	return done
}

func (e *env) copyLog(ctx context.Context, c *client.Client, id job.ID, task int, offset int64, follow bool, w io.Writer) error {
	r, err := c.Logs(ctx, id, task, offset, follow)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(w, r); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errs.E("cli.copyLog", errs.Unavailable, err)
	}
	return nil
}

// prefixed writes a prefix before each line.
type prefixed struct {
	w      io.Writer
	prefix string
	start  bool
}

func (p *prefixed) Write(b []byte) (int, error) {
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		if p.start {
			out.WriteString(p.prefix)
		}
		out.WriteString(line)
		p.start = strings.HasSuffix(line, "\n")
	}
	if _, err := io.WriteString(p.w, out.String()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// outcome is the error of a job that did not end well.
func outcome(j job.Job) error {
	switch j.State {
	case job.Failed:
		return errs.Errorf("cli.outcome", errs.Other, "job/%d failed: %s; `lineshaft why job/%d` says more, `lineshaft logs %d` shows its output, `lineshaft retry %d` runs it again",
			j.ID, oneLine(j.Reason), j.ID, j.ID, j.ID)
	case job.Canceled:
		return errs.Errorf("cli.outcome", errs.Conflict, "job/%d was canceled: %s; `lineshaft retry %d` runs it again", j.ID, oneLine(j.Reason), j.ID)
	}
	return nil
}

// interrupted reports whether the error is that the person at the keyboard wants to stop.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errs.Is(err, errs.Canceled) || err != nil)
}
