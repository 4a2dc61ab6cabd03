package job

import (
	"context"

	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Filter narrows a listing; zero fields do not narrow. Jobs come newest first.
type Filter struct {
	State State
	Owner string
	After ID // only jobs with a smaller ID
	Limit int
}

// Store keeps jobs. Each write commits the row, the audit entries and the outbox in one transaction.
type Store interface {
	// CreateJob gives the job its ID.
	CreateJob(ctx context.Context, j Job, events ...event.Event) (Job, error)
	// UpdateJob writes the whole record; a job that does not exist is errs.NotFound.
	UpdateJob(ctx context.Context, j Job, events ...event.Event) error
	GetJob(ctx context.Context, id ID) (Job, error)
	ListJobs(ctx context.Context, f Filter) ([]Job, error)
	// AppendMetrics adds points read from a task's journal up to offset; a batch that starts below the stored offset of
	// (job, task, attempt) was taken before and is ignored, so that reading twice counts once.
	AppendMetrics(ctx context.Context, id ID, task, attempt int, from, to int64, points []Metric) error
	// JournalOffset is how far the journal of the attempt has been taken.
	JournalOffset(ctx context.Context, id ID, task, attempt int) (int64, error)
	// PutPast writes what was used lately, over what was written before.
	PutPast(ctx context.Context, p queue.Past) error
	// Past is what was written last; nothing when nothing was.
	Past(ctx context.Context) (queue.Past, error)
	ListMetrics(ctx context.Context, id ID, after int64, limit int) ([]Metric, error)
}
