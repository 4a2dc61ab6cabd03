package batch

import (
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/config"
)

// FromTensorFlow is the settings of a BatchingParameters file of TensorFlow Serving. notes say what has no effect here,
// or another.
func FromTensorFlow(t config.Batching) (b serve.Batching, notes []string, err error) {
	if t.MaxBatchSize != nil {
		b.MaxRows = int(t.MaxBatchSize.Value)
	}
	if t.MaxExecution != nil && t.SplitLarge != nil && t.SplitLarge.Value {
		b.MaxRows = int(t.MaxExecution.Value)
	}
	for _, n := range t.Allowed {
		b.Sizes = append(b.Sizes, int(n))
	}
	if t.MaxEnqueued != nil {
		rows := int64(b.MaxRows)
		if rows == 0 {
			rows = 1000 // TensorFlow Serving's largest batch where the file says none
		}
		if t.MaxEnqueued.Value > mostRows/rows {
			return b, nil, errs.Errorf("batch.FromTensorFlow", errs.Invalid, "max_enqueued_batches: %d batches of %d rows are too many", t.MaxEnqueued.Value, rows)
		}
		b.MaxQueue = int(t.MaxEnqueued.Value * rows)
	}
	if t.Threads != nil {
		b.Workers = int(t.Threads.Value)
	}
	b.PadVariable = t.PadVariable
	if t.TimeoutMicros != nil && t.TimeoutMicros.Value > 0 {
		notes = append(notes, "batch_timeout_micros has no effect: a batch never waits to be filled while a worker is free")
	}
	if t.SplitLarge != nil && !t.SplitLarge.Value {
		notes = append(notes, "enable_large_batch_splitting: requests of more rows than a batch are always computed in pieces")
	}
	if t.PaddingPolicy != nil && t.PaddingPolicy.Value != "PAD_UP" {
		notes = append(notes, "batch_padding_policy has no effect: whether a batch is filled up or made smaller is decided by the model's own times")
	}
	if t.LowPriorityMax != nil || t.LowPriorityQueue != nil || t.LowPriorityTimeout != nil {
		notes = append(notes, "low_priority_… has no effect: requests of a lower priority wait in the same queue, behind the others")
	}
	return b, notes, b.Check()
}

const mostRows = 1 << 40

// Triton is the part of a Triton model configuration (config.pbtxt) that says how requests are joined.
type Triton struct {
	MaxBatchSize int64          `text:"max_batch_size"`
	Dynamic      *TritonDynamic `text:"dynamic_batching"`
}

// TritonDynamic is a ModelDynamicBatching.
type TritonDynamic struct {
	Preferred        []int64       `text:"preferred_batch_size"`
	MaxDelay         int64         `text:"max_queue_delay_microseconds"`
	Ordered          bool          `text:"preserve_ordering"`
	Levels           int64         `text:"priority_levels"`
	DefaultLevel     int64         `text:"default_priority_level"`
	Policy           *TritonPolicy `text:"default_queue_policy"`
	LevelsHavePolicy bool          `text:"-"` // priority_queue_policy is there
}

// TritonPolicy is a ModelQueuePolicy.
type TritonPolicy struct {
	Delay    bool  `text:"-"` // timeout_action is DELAY, not REJECT
	Timeout  int64 `text:"default_timeout_microseconds"`
	Override bool  `text:"allow_timeout_override"`
	MaxSize  int64 `text:"max_queue_size"` // requests; 0: any
}

// FromTriton is the settings of a Triton model configuration. notes say what has no effect here, or another. A request's
// priority parameter becomes serve.Call's by Priority.
func FromTriton(t Triton) (b serve.Batching, notes []string, err error) {
	const op = "batch.FromTriton"
	if t.MaxBatchSize < 0 || t.MaxBatchSize > mostRows {
		return b, nil, errs.Errorf(op, errs.Invalid, "max_batch_size is %d: it is 0, for a model that is not batched, or more", t.MaxBatchSize)
	}
	b.MaxRows = int(max(t.MaxBatchSize, 1))
	d := t.Dynamic
	if d == nil {
		return b, nil, b.Check()
	}
	if d.DefaultLevel < 0 || d.Levels < 0 || d.Levels > 0 && (d.DefaultLevel < 1 || d.DefaultLevel > d.Levels) {
		return b, nil, errs.Errorf(op, errs.Invalid, "dynamic_batching: default_priority_level is %d: it is one of the %d priority_levels, from 1 on", d.DefaultLevel, d.Levels)
	}
	for _, n := range d.Preferred {
		b.Preferred = append(b.Preferred, int(n))
	}
	b.Priority = Priority(int(d.DefaultLevel))
	if p := d.Policy; p != nil {
		if p.Timeout < 0 || p.MaxSize < 0 {
			return b, nil, errs.Errorf(op, errs.Invalid, "default_queue_policy: its numbers are 0 or more")
		}
		b.MaxQueue = int(p.MaxSize)
		b.Wait, b.Late = job.Duration(p.Timeout*1000), p.Delay
	}
	if d.MaxDelay > 0 {
		notes = append(notes, "max_queue_delay_microseconds has no effect: a batch never waits to be filled while a worker is free")
	}
	if d.LevelsHavePolicy {
		notes = append(notes, "priority_queue_policy has no effect: default_queue_policy holds for all levels")
	}
	return b, notes, b.Check()
}

// Priority is what serve.Call has for Triton's level of priority, where 1 is the highest and 0 leaves it to the settings.
func Priority(level int) int { return -level }
