package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/drift"
)

// Watches watches versions in service for drift; *serve.Manager does.
type Watches interface {
	TakeReference(ctx context.Context, actor, model string, version int64) (*drift.Reference, error)
}

// ReferenceOf names the version whose requests become its reference; left out, the one that answers who names none.
type ReferenceOf struct {
	Version int64 `json:"version,omitempty"`
}

// Taken says what a reference was made of.
type Taken struct {
	Source string `json:"source"`
	Rows   int64  `json:"rows"`
}

func (s *server) driftRoutes() {
	send(s, route{
		method: http.MethodPost, path: "/services/{model}/reference",
		summary: "Make what a version was lately asked the reference from which drift is told, where its training left none",
	}, func(ctx context.Context, in *serviceChange, of ReferenceOf) (Taken, error) {
		if _, err := s.service(ctx, in.Model, "deploy"); err != nil {
			return Taken{}, err
		}
		if of.Version < 0 {
			return Taken{}, errs.Errorf("api.takeReference", errs.Invalid, "%d is no version", of.Version)
		}
		if in.DryRun {
			return Taken{Source: "requests"}, nil
		}
		ref, err := s.o.Services.TakeReference(ctx, callOf(ctx).who.Actor(), in.Model, of.Version)
		if err != nil {
			return Taken{}, err
		}
		return Taken{ref.Source, ref.Rows}, nil
	})
}
