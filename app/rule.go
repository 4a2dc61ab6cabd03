package app

import (
	"io"
	"os"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/sched/learn"
)

// ReadRule reads the file of a learned rule.
func ReadRule(name string) (learn.Rule, error) {
	const op = "app.ReadRule"
	file, err := os.Open(name)
	if err != nil {
		kind := errs.Invalid
		if os.IsNotExist(err) {
			kind = errs.NotFound
		}
		return learn.Rule{}, errs.Errorf(op, kind, "cannot read the rule: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, manifest.MaxSize+1))
	if err != nil {
		return learn.Rule{}, errs.Errorf(op, errs.Invalid, "cannot read the rule: %w", err)
	}
	r, err := learn.Parse(text)
	if err != nil {
		return r, errs.Errorf(op, errs.KindOf(err), "rule %s: %w", name, err)
	}
	return r, nil
}

// withRule is the site under the configured rule, where its verdict is that it may be used.
func (s *Server) withRule(site job.Site) (job.Site, error) {
	if s.cfg.Rule == "" {
		return site, nil
	}
	r, err := ReadRule(s.cfg.Rule)
	if err != nil {
		return site, err
	}
	if r.Verdict != learn.Learned {
		s.log.Warn("scheduler: the rule is not used, the default plans", "rule", r.Name, "file", s.cfg.Rule, "because", r.Why)
		return site, nil
	}
	site.Policy = r.In(site.Policy)
	s.log.Info("scheduler: plans by a learned rule", "rule", r.Name, "file", s.cfg.Rule, "numbers", r.Learned.String())
	return site, site.Validate()
}
