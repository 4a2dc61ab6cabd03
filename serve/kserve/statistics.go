package kserve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
)

// duration counts times and adds them up.
type duration struct {
	Count uint64 `json:"count"`
	NS    uint64 `json:"ns"`
}

func durationOf(n int64, d time.Duration) duration {
	return duration{uint64(max(n, 0)), uint64(max(d, 0))}
}

// inferenceStats are Triton's: where the time of requests went. Reading a request is counted as compute_input, writing
// its answer as compute_output.
type inferenceStats struct {
	Success       duration `json:"success"`
	Fail          duration `json:"fail"`
	Queue         duration `json:"queue"`
	ComputeInput  duration `json:"compute_input"`
	ComputeInfer  duration `json:"compute_infer"`
	ComputeOutput duration `json:"compute_output"`
	CacheHit      duration `json:"cache_hit"`
	CacheMiss     duration `json:"cache_miss"`
}

type memoryUsage struct {
	Type string `json:"type"`
	ID   int64  `json:"id"`
	Size uint64 `json:"byte_size"`
}

// statistics is what one version did.
type statistics struct {
	Name           string         `json:"name"`
	Version        string         `json:"version"`
	LastInference  uint64         `json:"last_inference"` // milliseconds since 1970
	InferenceCount uint64         `json:"inference_count"`
	ExecutionCount uint64         `json:"execution_count"`
	InferenceStats inferenceStats `json:"inference_stats"`
	BatchStats     []struct{}     `json:"batch_stats"`
	MemoryUsage    []memoryUsage  `json:"memory_usage"`
}

// statistics tells what the versions of a model did, or one of them, or without a model all that the caller may read.
func (s *inference) statistics(model, text string, allow func(action, model string) error) ([]statistics, error) {
	if model == "" {
		all := []statistics{}
		var refused error
		services := s.o.Manager.List()
		for _, service := range services {
			if err := allow("read", service.Model); err != nil {
				refused = err
				continue
			}
			all = append(all, statisticsOf(service, 0)...)
		}
		if len(services) == 0 {
			refused = allow("read", "")
		}
		if errs.Is(refused, errs.Unauthenticated) {
			return nil, refused
		}
		return all, nil
	}
	if err := allow("read", model); err != nil {
		return nil, err
	}
	number := int64(0)
	if text != "" {
		lease, err := s.acquire(model, text)
		if err != nil {
			return nil, err
		}
		number = lease.Version()
		lease.Release()
	}
	service, err := s.o.Manager.Get(model)
	if err != nil {
		return nil, err
	}
	return statisticsOf(service, number), nil
}

func statisticsOf(service serve.Service, number int64) []statistics {
	all := []statistics{}
	for _, v := range service.Versions {
		if v.State != serve.Available || number != 0 && v.Version != number {
			continue
		}
		w := v.Work
		ok := v.Requests - v.Errors
		st := statistics{
			Name: service.Model, Version: strconv.FormatInt(v.Version, 10),
			InferenceCount: uint64(w.Rows), ExecutionCount: uint64(w.Executions), BatchStats: []struct{}{},
			InferenceStats: inferenceStats{
				Success: durationOf(ok, w.Total-w.Failed), Fail: durationOf(v.Errors, w.Failed), Queue: durationOf(ok, w.Queue),
				ComputeInput: durationOf(ok, w.Input), ComputeInfer: durationOf(ok, w.Compute), ComputeOutput: durationOf(ok, w.Output),
			},
			MemoryUsage: []memoryUsage{{"CPU", 0, uint64(v.MemoryBytes)}},
		}
		if !w.Last.IsZero() {
			st.LastInference = uint64(w.Last.UnixMilli())
		}
		all = append(all, st)
	}
	return all
}

func (h *handler) stats(w http.ResponseWriter, r *http.Request, p target) error {
	all, err := h.statistics(p.model, p.version, func(action, model string) error {
		_, err := h.port.Authorize(r, action, model)
		return err
	})
	if err != nil {
		return err
	}
	return port.WriteJSON(w, map[string]any{"model_stats": all})
}
