package serve_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// queued puts the queue of serve/batch before what the world loads.
type queued struct{ *world }

func (q queued) Load(ctx context.Context, f model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	s, err := q.world.Load(ctx, f, r, size)
	if err != nil {
		return nil, err
	}
	return batch.New(computes{s.(*servable)}, batch.Options{MaxRows: 4})
}

// computes is a servable as a model of serve/batch.
type computes struct{ *servable }

func (c computes) Parallel() int { return 1 }

func (c computes) Run(ctx context.Context, in, out []tensor.Tensor, rows int) error {
	return c.servable.Run(ctx, &serve.Call{In: in, Out: out, Rows: rows})
}

func TestAServiceTellsOfItsQueueAndTakesSettingsForIt(t *testing.T) {
	ctx := context.Background()
	w := newWorld(2)
	m := serve.New(serve.Options{Store: w, Models: w, Runtime: queued{w}, Clock: clock.NewFake(start)})
	if _, err := m.Deploy(ctx, "a", "m", 1); err != nil {
		t.Fatal(err)
	}
	ask := func(rows int) {
		lease, err := m.Acquire("m", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release()
		if err := lease.Run(ctx, &serve.Call{In: []tensor.Tensor{tensor.Float32s(make([]float32, rows), rows, 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	ask(1)
	ask(6) // in pieces of 4 and 2
	set := serve.Batching{Sizes: []int{8}, SLO: job.Duration(time.Second)}
	if _, err := m.SetBatching(ctx, "b", "m", &set); err != nil {
		t.Fatal(err)
	}
	ask(6)
	if _, err := m.Deploy(ctx, "a", "m", 2); err != nil { // it takes the settings too
		t.Fatal(err)
	}
	ask(7)
	s, err := m.Get("m")
	if err != nil || s.Queue == nil || s.Queue.Batches != 5 || s.Queue.Rows != 20 || s.Queue.Padding != 3 || s.Batching.Sizes[0] != 8 {
		t.Errorf("%+v, %+v, %v", s, s.Queue, err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(m.Metrics())
	page := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, line := range []string{
		":tensorflow:serving:batching_session:wrapped_run_count 5",
		`:tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name="m"} 5`,
		`lineshaft_serve_padding_rows_total{model="m"} 3`,
		`lineshaft_serve_batch_rows_bucket{model="m",le="4"} 3`,
		`lineshaft_serve_shed_total{model="m",reason="late"} 0`,
	} {
		if !strings.Contains(page.Body.String(), line+"\n") {
			t.Errorf("%s is not among\n%s", line, page.Body)
		}
	}
	if _, err := m.SetBatching(ctx, "b", "m", &serve.Batching{MaxRows: -1}); !errs.Is(err, errs.Invalid) {
		t.Errorf("%v", err)
	}
	if s, err := m.SetBatching(ctx, "b", "m", nil); err != nil || s.Batching != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := m.SetBatching(ctx, "b", "none", nil); err == nil {
		t.Error("settings for a model that is not in service")
	}
}
