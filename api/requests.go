package api

import (
	"context"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/serve/requestlog"
)

// Requests reads what models were asked and answered; *requestlog.Log does.
type Requests interface {
	Read(ctx context.Context, model string, limit int) ([]requestlog.Entry, error)
}

type requestQuery struct {
	ServicePath
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"20"`
}

func (s *server) requestRoutes() {
	get(s, "/services/{model}/log", "The newest requests to a model that were kept, with the answers, newest first; granted and audited", s.readRequests)
}

func (s *server) readRequests(ctx context.Context, in *requestQuery) (Page[requestlog.Entry], error) {
	const op = "api.readRequests"
	page := Page[requestlog.Entry]{Items: []requestlog.Entry{}}
	if _, err := s.service(ctx, in.Model, "log"); err != nil {
		return page, err
	}
	if s.o.Requests == nil {
		return page, errs.Errorf(op, errs.Conflict, "no requests are kept on this server: start it with --request-log 0.01 to keep one in a hundred")
	}
	// The reading is recorded before anything is read.
	detail := map[string]any{"model": in.Model, "limit": in.Limit}
	if err := s.o.Rows.Emit(ctx, event.New("services", "service.log_read", "service/"+in.Model, callOf(ctx).who.Actor(), detail)); err != nil {
		return page, err
	}
	all, err := s.o.Requests.Read(ctx, in.Model, in.Limit)
	page.Items = filled(all)
	return page, err
}
