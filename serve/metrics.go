package serve

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
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
	memoryDesc   = prometheus.NewDesc("lineshaft_serve_memory_bytes", "Memory of the weights of a version.", []string{"model", "version"}, nil)

	tfCountDesc   = prometheus.NewDesc(":tensorflow:serving:request_count", "The total number of requests.", []string{"model_name", "status"}, nil)
	tfLatencyDesc = prometheus.NewDesc(":tensorflow:serving:request_latency", "Distribution of wall time (in microseconds).", []string{"model_name", "API", "entrypoint"}, nil)
)

func (metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, errorsDesc, latencyDesc, stateDesc, memoryDesc, tfCountDesc, tfLatencyDesc} {
		ch <- d
	}
}

func (c metrics) Collect(ch chan<- prometheus.Metric) {
	for name, s := range *c.m.services.Load() {
		for _, v := range s.show(c.m.o.Clock.Now()).Versions {
			version := strconv.FormatInt(v.Version, 10)
			ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(v.Requests), name, version)
			ch <- prometheus.MustNewConstMetric(errorsDesc, prometheus.CounterValue, float64(v.Errors), name, version)
			ch <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, 1, name, version, string(v.State))
			if v.MemoryBytes > 0 {
				ch <- prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, float64(v.MemoryBytes), name, version)
			}
		}
		s.mu.Lock()
		t := s.totals(c.m.o.Clock.Now())
		s.mu.Unlock()
		ch <- prometheus.MustNewConstMetric(tfCountDesc, prometheus.CounterValue, float64(t.requests-t.errors), name, "OK")
		ch <- prometheus.MustNewConstMetric(tfCountDesc, prometheus.CounterValue, float64(t.errors), name, "ERROR")
		t.histograms(ch, name)
	}
}

// histograms joins the buckets to whole octaves: 27 lines a model instead of 108.
func (t *totals) histograms(ch chan<- prometheus.Metric, name string) {
	seconds, micros := map[float64]uint64{}, map[float64]uint64{}
	n := uint64(0)
	for b, count := range t.latency {
		n += uint64(count)
		if b%perOctave == perOctave-1 && b < buckets-1 { // the last one has no end
			end := bucketEnd(b)
			seconds[end.Seconds()], micros[float64(end.Microseconds())] = n, n
		}
	}
	sum := float64(t.nanos)
	ch <- prometheus.MustNewConstHistogram(latencyDesc, n, sum/1e9, seconds, name)
	ch <- prometheus.MustNewConstHistogram(tfLatencyDesc, n, sum/1e3, micros, name, "Predict", "REST")
}
