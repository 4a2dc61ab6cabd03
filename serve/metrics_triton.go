package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// This file shows what versions did under the names of Triton and of KServe's model servers, whose dashboards then go on
// working. Triton's are counters of microseconds; KServe's are histograms of seconds. Of those, the one of predictions
// counts whole requests in its buckets; those of what is before and after have a sum and a count only.

var (
	byVersion = []string{"model", "version"}

	nvSuccessDesc = prometheus.NewDesc("nv_inference_request_success", "Number of successful inference requests, all batch sizes", byVersion, nil)
	nvFailureDesc = prometheus.NewDesc("nv_inference_request_failure", "Number of failed inference requests, all batch sizes", []string{"model", "version", "reason"}, nil)
	nvCountDesc   = prometheus.NewDesc("nv_inference_count", "Number of inferences performed (does not include cached requests)", byVersion, nil)
	nvExecDesc    = prometheus.NewDesc("nv_inference_exec_count", "Number of model executions performed (does not include cached requests)", byVersion, nil)
	nvPendingDesc = prometheus.NewDesc("nv_inference_pending_request_count", "Instantaneous number of pending requests awaiting execution per-model.", byVersion, nil)
	nvRequestDesc = prometheus.NewDesc("nv_inference_request_duration_us", "Cumulative inference request duration in microseconds (includes cached requests)", byVersion, nil)
	nvQueueDesc   = prometheus.NewDesc("nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds (includes cached requests)", byVersion, nil)
	nvInputDesc   = prometheus.NewDesc("nv_inference_compute_input_duration_us", "Cumulative compute input duration in microseconds (does not include cached requests)", byVersion, nil)
	nvInferDesc   = prometheus.NewDesc("nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds (does not include cached requests)", byVersion, nil)
	nvOutputDesc  = prometheus.NewDesc("nv_inference_compute_output_duration_us", "Cumulative inference compute output duration in microseconds (does not include cached requests)", byVersion, nil)

	preprocessDesc  = prometheus.NewDesc("request_preprocess_seconds", "pre-process request latency", []string{"model_name"}, nil)
	predictDesc     = prometheus.NewDesc("request_predict_seconds", "predict request latency", []string{"model_name"}, nil)
	postprocessDesc = prometheus.NewDesc("request_postprocess_seconds", "post-process request latency", []string{"model_name"}, nil)
)

// tritonDescs is all of the above.
var tritonDescs = []*prometheus.Desc{
	nvSuccessDesc, nvFailureDesc, nvCountDesc, nvExecDesc, nvPendingDesc, nvRequestDesc, nvQueueDesc, nvInputDesc, nvInferDesc, nvOutputDesc,
	preprocessDesc, predictDesc, postprocessDesc,
}

// triton shows a version that is in memory.
func (v VersionStatus) triton(ch chan<- prometheus.Metric, name, version string) {
	if v.State != Available && v.State != Unloading {
		return
	}
	w := v.Work
	counter := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, append([]string{name, version}, labels...)...)
	}
	micros := func(d time.Duration) float64 { return float64(d / time.Microsecond) }
	counter(nvSuccessDesc, float64(v.Requests-v.Errors))
	counter(nvFailureDesc, float64(v.Errors), "OTHER")
	counter(nvCountDesc, float64(w.Rows))
	counter(nvExecDesc, float64(w.Executions))
	counter(nvRequestDesc, micros(w.Total))
	counter(nvQueueDesc, micros(w.Queue))
	counter(nvInputDesc, micros(w.Input))
	counter(nvInferDesc, micros(w.Compute))
	counter(nvOutputDesc, micros(w.Output))
	ch <- prometheus.MustNewConstMetric(nvPendingDesc, prometheus.GaugeValue, float64(w.Waiting), name, version)
}

// kserve shows a model; requests took sum seconds together, and buckets counts them.
func kserve(ch chan<- prometheus.Metric, name string, versions []VersionStatus, requests uint64, sum float64, buckets map[float64]uint64) {
	var n uint64
	var before, after time.Duration
	for _, v := range versions {
		n += uint64(max(0, v.Requests-v.Errors))
		before += v.Work.Input
		after += v.Work.Output
	}
	ch <- prometheus.MustNewConstHistogram(preprocessDesc, n, before.Seconds(), nil, name)
	ch <- prometheus.MustNewConstHistogram(postprocessDesc, n, after.Seconds(), nil, name)
	ch <- prometheus.MustNewConstHistogram(predictDesc, requests, sum, buckets, name)
}
