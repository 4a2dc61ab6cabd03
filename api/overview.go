package api

import (
	"context"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Totals counts what there is; *store.DB does.
type Totals interface {
	CountJobs(ctx context.Context) (map[job.State]int, error)
	CountModels(ctx context.Context) (int, error)
}

// Overview is the hall at a glance.
type Overview struct {
	Version       string            `json:"version"`
	UptimeSeconds float64           `json:"uptime_seconds"`
	Addresses     Addresses         `json:"addresses"`
	Nodes         []fleet.Node      `json:"nodes"`
	Jobs          map[job.State]int `json:"jobs"`
	CPUUsed       float64           `json:"cpu_used"` // cores that were given to tasks
	CPUTotal      float64           `json:"cpu_total"`
	MemoryUsed    units.Bytes       `json:"memory_used"`
	MemoryTotal   units.Bytes       `json:"memory_total"`
	Models        int               `json:"models"`
	Services      int               `json:"services"`
	RPS           float64           `json:"rps"`
	P99Ms         float64           `json:"p99_ms"` // of the slowest service
	Actions24h    int               `json:"actions_24h"`
	Events        []event.Event     `json:"events"` // the newest that the caller may read
}

// Addresses is where a server listens.
type Addresses struct {
	Console     string `json:"console"`      // and API: http://127.0.0.1:8080
	Serving     string `json:"serving"`      // REST: http://127.0.0.1:8501
	ServingGRPC string `json:"serving_grpc"` // 127.0.0.1:8500
}

// recentEvents is how many events the overview shows, of so many that are looked at.
const (
	recentEvents = 20
	recentLook   = 100
)

func (s *server) overviewRoutes() {
	get(s, "/overview", "The hall at a glance", s.overview)
}

func (s *server) overview(ctx context.Context, _ *none) (Overview, error) {
	if err := s.allow(ctx, "read", access.Resource{Type: "overview"}); err != nil {
		return Overview{}, err
	}
	now := s.o.Clock.Now()
	o := Overview{Version: s.o.Version, UptimeSeconds: now.Sub(s.started).Seconds(), Addresses: s.o.Addresses, Nodes: filled(s.o.Fleet.Nodes())}
	for _, n := range o.Nodes {
		o.CPUTotal += n.CPU
		o.MemoryTotal += n.Memory
	}
	for _, svc := range s.o.Services.List() {
		o.Services++
		o.RPS += svc.RPS
		o.P99Ms = max(o.P99Ms, svc.P99Ms)
	}
	var err error
	if o.Jobs, err = s.o.Rows.CountJobs(ctx); err != nil {
		return o, err
	}
	if err := s.inUse(ctx, &o); err != nil {
		return o, err
	}
	if o.Models, err = s.o.Rows.CountModels(ctx); err != nil {
		return o, err
	}
	actions, err := s.o.Control.Actions(ctx, control.Filter{Since: now.Add(-24 * time.Hour)})
	if err != nil {
		return o, err
	}
	o.Actions24h = len(actions)
	o.Events, err = s.recent(ctx)
	return o, err
}

// inUse adds up what the tasks that hold resources were given.
func (s *server) inUse(ctx context.Context, o *Overview) error {
	for _, state := range []job.State{job.Starting, job.Running, job.Stopping} {
		if o.Jobs[state] == 0 {
			continue
		}
		for f := (job.Filter{State: state, Limit: 1000}); ; {
			page, err := s.o.Jobs.List(ctx, f)
			if err != nil {
				return err
			}
			for _, j := range page {
				for _, t := range j.Tasks {
					if t.State.Live() {
						o.CPUUsed += j.Spec.Resources.CPU
						o.MemoryUsed += j.Spec.Resources.Memory
					}
				}
			}
			if len(page) < f.Limit {
				break
			}
			f.After = page[len(page)-1].ID
		}
	}
	return nil
}

func (s *server) recent(ctx context.Context) ([]event.Event, error) {
	all, err := s.o.Rows.Recent(ctx, recentLook)
	if err != nil {
		return nil, err
	}
	out := []event.Event{}
	for _, e := range all {
		ok, err := s.visible(ctx, eventResource(e))
		if err != nil {
			return nil, err
		}
		if ok && len(out) < recentEvents {
			out = append(out, e)
		}
	}
	return out, nil
}
