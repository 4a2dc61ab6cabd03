package app

import (
	"context"
	"time"
	_ "time/tzdata" // time zones of windows are known on every machine

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// Site is what people know of the data centre: where the nodes stand, what feeds them, and when work that can wait is
// to run.
type Site struct {
	fleet.Site `yaml:",inline"`
	Windows    []job.Window `yaml:"windows,omitempty"`   // when deferrable work may start: "Mon-Fri 22:00-06:00 Europe/Berlin"
	HalfLife   job.Duration `yaml:"half-life,omitempty"` // of past use, in the order of turns; 168h when 0
	// ResizePause is how long an elastic job runs before it is started anew to grow; 10m when 0.
	ResizePause job.Duration `yaml:"resize-pause,omitempty"`
}

// Validate refuses what no hall is.
func (s Site) Validate() error {
	if s.HalfLife < 0 {
		return errs.Errorf("app.Site", errs.Invalid, "half-life: %v: give a positive duration, for example 168h", time.Duration(s.HalfLife))
	}
	if s.ResizePause < 0 {
		return errs.Errorf("app.Site", errs.Invalid, "resize-pause: %v: give a positive duration, for example 10m", time.Duration(s.ResizePause))
	}
	return s.Site.Validate()
}

// account refuses a name that nobody signs in with.
func (s *Server) account(ctx context.Context, name string) error {
	_, err := s.access.User(ctx, s.access.Socket(), name)
	if errs.Is(err, errs.NotFound) {
		return errs.Errorf("app.account", errs.Invalid, "%w", err)
	}
	return err
}

// share is how the scheduler shares the hall.
func (c Config) share() job.Site {
	s := job.DefaultSite(c.Queues)
	s.Racks, s.Caps, s.Windows = c.Site.Racks, c.Site.Caps, c.Site.Windows
	if h := c.Site.HalfLife; h > 0 {
		s.HalfLife = time.Duration(h)
	}
	if p := c.Site.ResizePause; p > 0 {
		s.ResizePause = time.Duration(p)
	}
	return s
}
