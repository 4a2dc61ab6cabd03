package serve

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lineshaft/lineshaft/serve/drift"
)

// Metrics shows what the services did to Prometheus: under our own names, and under those of TensorFlow Serving, whose
// dashboards then go on working. Register it with a prometheus.Registry.
func (m *Manager) Metrics() prometheus.Collector { return metrics{m} }

type metrics struct{ m *Manager }

var (
	requestsDesc = prometheus.NewDesc("lineshaft_serve_requests_total", "Requests that reached a version in service.", []string{"model", "version"}, nil)
	errorsDesc   = prometheus.NewDesc("lineshaft_serve_errors_total", "Requests that a version did not answer.", []string{"model", "version"}, nil)
	latencyDesc  = prometheus.NewDesc("lineshaft_serve_request_duration_seconds", "Time from a request's body to its answer, in the server.", []string{"model"}, nil)
	stateDesc    = prometheus.NewDesc("lineshaft_serve_version_state", "1 for the state that a version is in.", []string{"model", "version", "state"}, nil)
	driftDesc    = prometheus.NewDesc("lineshaft_serve_drift_psi", "Stability index of the feature that has drifted most from the reference, less what chance makes of it.", []string{"model", "version", "of"}, nil)
	memoryDesc   = prometheus.NewDesc("lineshaft_serve_memory_bytes", "Memory of the weights of a version.", []string{"model", "version"}, nil)

	tfCountDesc     = prometheus.NewDesc(":tensorflow:serving:request_count", "The total number of requests.", []string{"model_name", "status"}, nil)
	waitingDesc     = prometheus.NewDesc("lineshaft_serve_queue_requests", "Requests that wait to be computed.", []string{"model"}, nil)
	waitingRowsDesc = prometheus.NewDesc("lineshaft_serve_queue_rows", "Rows of the requests that wait.", []string{"model"}, nil)
	runningDesc     = prometheus.NewDesc("lineshaft_serve_batches_running", "Batches that are being computed.", []string{"model"}, nil)
	waitDesc        = prometheus.NewDesc("lineshaft_serve_queue_duration_seconds", "Time that requests waited before they were computed.", []string{"model"}, nil)
	batchRowsDesc   = prometheus.NewDesc("lineshaft_serve_batch_rows", "Rows of the batches that were computed.", []string{"model"}, nil)
	paddingDesc     = prometheus.NewDesc("lineshaft_serve_padding_rows_total", "Rows that only filled batches up.", []string{"model"}, nil)
	shedDesc        = prometheus.NewDesc("lineshaft_serve_shed_total", "Requests that were not computed: the queue was full, it would have been late, or its client left.", []string{"model", "reason"}, nil)

	tfQueuingDesc = prometheus.NewDesc(":tensorflow:serving:batching_session:queuing_latency", "Distribution of wall time spent (in microseconds) in queuing.", []string{"thread_pool_name"}, nil)
	tfRunsDesc    = prometheus.NewDesc(":tensorflow:serving:batching_session:wrapped_run_count", "Total count of run calls on the wrapped session.", nil, nil)

	tfLatencyDesc = prometheus.NewDesc(":tensorflow:serving:request_latency", "Distribution of wall time (in microseconds).", []string{"model_name", "API", "entrypoint"}, nil)
)

func (metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{
		requestsDesc, errorsDesc, latencyDesc, stateDesc, memoryDesc, driftDesc, tfCountDesc, tfLatencyDesc,
		waitingDesc, waitingRowsDesc, runningDesc, waitDesc, batchRowsDesc, paddingDesc, shedDesc, tfQueuingDesc, tfRunsDesc,
	}, tritonDescs...) {
		ch <- d
	}
}

func (c metrics) Collect(ch chan<- prometheus.Metric) {
	runs := int64(0)
	defer func() { ch <- prometheus.MustNewConstMetric(tfRunsDesc, prometheus.CounterValue, float64(runs)) }()
	for name, s := range *c.m.services.Load() {
		versions := s.show(c.m.o.Clock.Now()).Versions
		for _, v := range versions {
			version := strconv.FormatInt(v.Version, 10)
			ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(v.Requests), name, version)
			ch <- prometheus.MustNewConstMetric(errorsDesc, prometheus.CounterValue, float64(v.Errors), name, version)
			ch <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, 1, name, version, string(v.State))
			if d := v.Drift; d != nil && d.State != drift.TooFew {
				ch <- prometheus.MustNewConstMetric(driftDesc, prometheus.GaugeValue, d.Inputs.PSI, name, version, "inputs")
				ch <- prometheus.MustNewConstMetric(driftDesc, prometheus.GaugeValue, d.Outputs.PSI, name, version, "outputs")
			}
			if v.MemoryBytes > 0 {
				ch <- prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, float64(v.MemoryBytes), name, version)
			}
			v.triton(ch, name, version)
		}
		s.mu.Lock()
		t := s.totals(c.m.o.Clock.Now())
		q := s.queue()
		s.mu.Unlock()
		if q != nil {
			q.collect(ch, name)
			runs += q.Batches
		}
		ch <- prometheus.MustNewConstMetric(tfCountDesc, prometheus.CounterValue, float64(t.requests-t.errors), name, "OK")
		ch <- prometheus.MustNewConstMetric(tfCountDesc, prometheus.CounterValue, float64(t.errors), name, "ERROR")
		t.histograms(ch, name, versions)
	}
}

// histograms joins the buckets to whole octaves: 27 lines a model instead of 108.
func (t *totals) histograms(ch chan<- prometheus.Metric, name string, versions []VersionStatus) {
	n, seconds, micros := octaveCounts(&t.latency)
	sum := float64(t.nanos)
	ch <- prometheus.MustNewConstHistogram(latencyDesc, n, sum/1e9, seconds, name)
	ch <- prometheus.MustNewConstHistogram(tfLatencyDesc, n, sum/1e3, micros, name, "Predict", "REST")
	kserve(ch, name, versions, n, sum/1e9, seconds)
}

// octaveCounts counts by the ends of octaves, in seconds and in microseconds.
func octaveCounts(counts *[buckets]int64) (n uint64, seconds, micros map[float64]uint64) {
	seconds, micros = map[float64]uint64{}, map[float64]uint64{}
	for b, count := range counts {
		n += uint64(count)
		if b%perOctave == perOctave-1 && b < buckets-1 { // the last one has no end
			end := bucketEnd(b)
			seconds[end.Seconds()], micros[float64(end.Microseconds())] = n, n
		}
	}
	return n, seconds, micros
}

// collect shows the queue of a model. What TensorFlow Serving counts by pool of threads is counted by model: each has its
// own queue here.
func (q *Queue) collect(ch chan<- prometheus.Metric, name string) {
	gauge := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), name)
	}
	gauge(waitingDesc, q.Waiting)
	gauge(waitingRowsDesc, q.WaitingRows)
	gauge(runningDesc, q.Running)
	for reason, n := range map[string]int64{"full": q.ShedFull, "late": q.ShedLate, "left": q.Left} {
		ch <- prometheus.MustNewConstMetric(shedDesc, prometheus.CounterValue, float64(n), name, reason)
	}
	ch <- prometheus.MustNewConstMetric(paddingDesc, prometheus.CounterValue, float64(q.Padding), name)
	n, seconds, micros := octaveCounts(&q.Waits.Counts)
	ch <- prometheus.MustNewConstHistogram(waitDesc, n, float64(q.Waits.Nanos)/1e9, seconds, name)
	ch <- prometheus.MustNewConstHistogram(tfQueuingDesc, n, float64(q.Waits.Nanos)/1e3, micros, name)
	sizes, batches := map[float64]uint64{}, uint64(0)
	for i, count := range q.Sizes {
		batches += uint64(count)
		sizes[float64(int(1)<<i)] = batches
	}
	ch <- prometheus.MustNewConstHistogram(batchRowsDesc, batches, float64(q.Rows), sizes, name)
}
