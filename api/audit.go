package api

import (
	"context"

	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/audit"
)

// AuditRows is the log of who did what; *store.DB keeps it.
type AuditRows interface {
	ListAudit(ctx context.Context, f audit.Filter) ([]audit.Entry, error)
	VerifyAudit(ctx context.Context) (audit.Report, error)
}

type auditList struct {
	Before int64  `query:"before" minimum:"0" doc:"only entries with a smaller number"`
	After  int64  `query:"after" minimum:"0" doc:"the next of the page before; the same as before"`
	Actor  string `query:"actor" example:"user/admin"`
	Action string `query:"action" doc:"a prefix: job. gives every action on jobs" example:"job."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *server) auditRoutes() {
	get(s, "/audit", "The audit log, newest first", s.listAudit)
	get(s, "/audit/verify", "Walk the whole log and check its chain", func(ctx context.Context, _ *none) (audit.Report, error) {
		if err := s.allow(ctx, "read", access.Resource{Type: "audit"}); err != nil {
			return audit.Report{}, err
		}
		return s.o.Rows.VerifyAudit(ctx)
	})
}

func (s *server) listAudit(ctx context.Context, in *auditList) (Page[audit.Entry], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "audit"}); err != nil {
		return Page[audit.Entry]{}, err
	}
	before := in.Before
	if in.After > 0 {
		before = in.After
	}
	all, err := s.o.Rows.ListAudit(ctx, audit.Filter{Before: before, Actor: in.Actor, Action: in.Action, Limit: in.Limit + 1})
	page := Page[audit.Entry]{Items: filled(all)}
	if len(all) > in.Limit {
		page.Items = all[:in.Limit]
		page.Next = itoa(page.Items[in.Limit-1].Seq)
	}
	return page, err
}
