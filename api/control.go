package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Control is the loop; *control.Runner is.
type Control interface {
	Actions(ctx context.Context, f control.Filter) ([]control.Action, error)
	Approve(ctx context.Context, actor, id string) (control.Action, error)
	Policies(ctx context.Context) ([]control.PolicyInfo, error)
	SetMode(ctx context.Context, actor, policy string, m control.Mode) error
}

// PolicyMode is how far a policy may go.
type PolicyMode struct {
	Mode string `json:"mode" enum:"off,advise,act"`
}

func (s *server) controlRoutes() {
	get(s, "/policies", "The loop's policies with their modes", s.listPolicies)
	send(s, route{method: http.MethodPut, path: "/policies/{name}", summary: "Set a policy's mode: off, advise or act"}, s.setMode)
	get(s, "/actions", "The loop's newest actions, newest first", s.listActions)
	send(s, route{method: http.MethodPost, path: "/actions/{id}/approve", summary: "Let a proposed action go ahead"}, s.approve)
}

func (s *server) listPolicies(ctx context.Context, _ *none) (Page[control.PolicyInfo], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "policy"}); err != nil {
		return Page[control.PolicyInfo]{}, err
	}
	all, err := s.o.Control.Policies(ctx)
	return Page[control.PolicyInfo]{Items: filled(all)}, err
}

type policyPath struct {
	Name string `path:"name"`
	Change
}

func (s *server) setMode(ctx context.Context, in *policyPath, body PolicyMode) (control.PolicyInfo, error) {
	if err := s.allow(ctx, "update", access.Resource{Type: "policy", Name: in.Name}); err != nil {
		return control.PolicyInfo{}, err
	}
	mode, err := control.ParseMode(body.Mode)
	if err != nil {
		return control.PolicyInfo{}, err
	}
	p, err := s.policy(ctx, in.Name)
	if err != nil || in.DryRun {
		return p, err
	}
	if err := s.o.Control.SetMode(ctx, callOf(ctx).who.Actor(), in.Name, mode); err != nil {
		return p, err
	}
	return s.policy(ctx, in.Name)
}

func (s *server) policy(ctx context.Context, name string) (control.PolicyInfo, error) {
	all, err := s.o.Control.Policies(ctx)
	if err != nil {
		return control.PolicyInfo{}, err
	}
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return control.PolicyInfo{}, errs.Errorf("api.policy", errs.NotFound, "no policy %q; `lineshaft policies` lists them", name)
}

type actionList struct {
	Open  bool `query:"open" doc:"only those that are not at their end"`
	Limit int  `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *server) listActions(ctx context.Context, in *actionList) (Page[control.Action], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "action"}); err != nil {
		return Page[control.Action]{}, err
	}
	all, err := s.o.Control.Actions(ctx, control.Filter{Open: in.Open, Limit: in.Limit})
	return Page[control.Action]{Items: filled(all)}, err
}

type actionPath struct {
	ID string `path:"id"`
	Change
}

func (s *server) approve(ctx context.Context, in *actionPath, _ none) (control.Action, error) {
	if err := s.allow(ctx, "approve", access.Resource{Type: "action", Name: in.ID}); err != nil {
		return control.Action{}, err
	}
	if in.DryRun {
		return s.openAction(ctx, in.ID)
	}
	return s.o.Control.Approve(ctx, callOf(ctx).who.Actor(), in.ID)
}

func (s *server) openAction(ctx context.Context, id string) (control.Action, error) {
	open, err := s.o.Control.Actions(ctx, control.Filter{Open: true})
	if err != nil {
		return control.Action{}, err
	}
	for _, a := range open {
		if a.ID == id {
			return a, nil
		}
	}
	return control.Action{}, errs.Errorf("api.openAction", errs.NotFound, "no open action %q; `lineshaft advice` lists them", id)
}
