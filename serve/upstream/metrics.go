package upstream

import (
	"github.com/prometheus/client_golang/prometheus"
)

var (
	requestsDesc = desc("requests_total", "Requests of clients.", "service")
	errorsDesc   = desc("errors_total", "Requests that no server answered.", "service")
	retriesDesc  = desc("retries_total", "Requests that were sent again.", "service")
	hedgesDesc   = desc("hedges_total", "Requests that a second server was asked for as well.", "service")
	refusedDesc  = desc("refused_total", "Requests that no server was there for in time, or that were too many to wait.", "service")
	waitingDesc  = desc("waiting", "Requests that wait for a server.", "service")
	wantedDesc   = desc("replicas_wanted", "Replicas that the service should have by its load.", "service")
	sentDesc     = desc("sent_total", "Requests that were sent to a server, by the class of its answer.", "service", "server", "code")
	secondsDesc  = desc("seconds_total", "Time until answers began.", "service", "server")
	flightDesc   = desc("in_flight", "Requests that a server works on.", "service", "server")
	wellDesc     = desc("well", "Whether a server may be asked.", "service", "server")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lineshaft_upstream_"+name, help, labels, nil)
}

// Metrics shows the services to Prometheus. Series of servers that are gone go with them.
func (u *Upstreams) Metrics() prometheus.Collector { return collector{u} }

type collector struct{ u *Upstreams }

func (c collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

func (c collector) Collect(out chan<- prometheus.Metric) {
	emit := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	for _, s := range c.u.all() {
		st := s.status()
		s.mu.Lock()
		n := s.counts
		codes := map[[2]string]int64{}
		seconds := map[string]float64{}
		for k, v := range n.codes {
			codes[k] = v
		}
		for k, v := range n.seconds {
			seconds[k] = v
		}
		s.mu.Unlock()
		emit(requestsDesc, prometheus.CounterValue, float64(n.requests), s.name)
		emit(errorsDesc, prometheus.CounterValue, float64(n.errors), s.name)
		emit(retriesDesc, prometheus.CounterValue, float64(n.retries), s.name)
		emit(hedgesDesc, prometheus.CounterValue, float64(n.hedges), s.name)
		emit(refusedDesc, prometheus.CounterValue, float64(n.refused), s.name)
		emit(waitingDesc, prometheus.GaugeValue, float64(st.Waiting), s.name)
		if st.Wish != nil {
			emit(wantedDesc, prometheus.GaugeValue, float64(st.Wish.Decision.Replicas), s.name)
		}
		for k, v := range codes {
			emit(sentDesc, prometheus.CounterValue, float64(v), s.name, k[0], k[1])
		}
		for id, v := range seconds {
			emit(secondsDesc, prometheus.CounterValue, v, s.name, id)
		}
		for _, server := range st.Servers {
			well := 0.0
			if server.State == "well" || server.State == "trying" {
				well = 1
			}
			emit(flightDesc, prometheus.GaugeValue, float64(server.InFlight), s.name, server.ID)
			emit(wellDesc, prometheus.GaugeValue, well, s.name, server.ID)
		}
	}
}
