package batch_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/config"
)

func TestABatchingFileOfTensorFlowServingIsUnderstood(t *testing.T) {
	text := `max_batch_size { value: 32 }
batch_timeout_micros { value: 5000 }
max_enqueued_batches { value: 10 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 8 allowed_batch_sizes: 32
pad_variable_length_inputs: true`
	file, _, err := config.ReadBatching("batching.config", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b, notes, err := batch.FromTensorFlow(file)
	want := serve.Batching{MaxRows: 32, Sizes: []int{8, 32}, MaxQueue: 320, Workers: 4, PadVariable: true}
	if err != nil || !reflect.DeepEqual(b, want) || len(notes) != 1 {
		t.Errorf("%+v, %q, %v", b, notes, err)
	}
	file.MaxEnqueued.Value = 1 << 60
	if _, _, err := batch.FromTensorFlow(file); !errs.Is(err, errs.Invalid) {
		t.Errorf("%v", err)
	}
	if b, notes, err := batch.FromTensorFlow(config.Batching{}); err != nil || !reflect.DeepEqual(b, serve.Batching{}) || notes != nil {
		t.Errorf("an empty file: %+v, %q, %v", b, notes, err)
	}
}

func TestDynamicBatchingOfTritonIsUnderstood(t *testing.T) {
	b, notes, err := batch.FromTriton(batch.Triton{MaxBatchSize: 16, Dynamic: &batch.TritonDynamic{
		Preferred: []int64{4, 8}, MaxDelay: 100, Levels: 3, DefaultLevel: 2,
		Policy: &batch.TritonPolicy{Timeout: 50000, MaxSize: 128, Delay: true},
	}})
	want := serve.Batching{MaxRows: 16, Preferred: []int{4, 8}, MaxQueue: 128, Wait: job.Duration(50 * time.Millisecond), Late: true, Priority: -2}
	if err != nil || !reflect.DeepEqual(b, want) || len(notes) != 1 {
		t.Errorf("%+v, %q, %v", b, notes, err)
	}
	if batch.Priority(1) <= batch.Priority(2) {
		t.Error("level 1 is Triton's highest")
	}
	for _, bad := range []batch.Triton{
		{MaxBatchSize: -1},
		{MaxBatchSize: 4, Dynamic: &batch.TritonDynamic{Preferred: []int64{8}}},
		{MaxBatchSize: 4, Dynamic: &batch.TritonDynamic{Levels: 2}},
		{MaxBatchSize: 4, Dynamic: &batch.TritonDynamic{Policy: &batch.TritonPolicy{Timeout: -1}}},
	} {
		if _, _, err := batch.FromTriton(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
