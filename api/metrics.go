package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lineshaft/lineshaft/trust/access"
)

// metrics are the API's own.
type metrics struct {
	open prometheus.Gauge
	took *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lineshaft_api_requests_open", Help: "Requests being answered now."}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lineshaft_api_request_seconds", Help: "How long requests took, by method and status.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60},
		}, []string{"method", "status"}),
	}
	r.MustRegister(m.open, m.took)
	return m
}

func (m metrics) done(c *call, took time.Duration) {
	method := c.r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other" // a caller cannot make labels up
	}
	m.took.WithLabelValues(method, strconv.Itoa(c.w.status)).Observe(took.Seconds())
}

func (s *server) metricsHandler() http.Handler {
	h := promhttp.HandlerFor(s.o.Gatherer, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.allow(r.Context(), "read", access.Resource{Type: "overview"}); err != nil {
			s.fail(callOf(r.Context()), err)
			return
		}
		h.ServeHTTP(w, r)
	})
}
