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
	Array ID   // only the jobs of this array
	Fold  bool // of each array only the first that the filter lets through, with its members by state
	After ID   // only jobs with a smaller ID
	Limit int
}

// Store keeps jobs. Each write commits the row, the audit entries and the outbox in one transaction.
type Store interface {
	// CreateJobs gives the jobs of one submission their IDs (Number) and accepts all or none. The event, of the subject
	// "job/" and without data, is told of each.
	CreateJobs(ctx context.Context, jobs []Job, e event.Event) ([]Job, error)
	// UpdateJobs writes the whole records, all or none; a job that does not exist is errs.NotFound.
	UpdateJobs(ctx context.Context, jobs []Job, events ...event.Event) error
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
