package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Fleet knows the machines; *fleet.Fleet does.
type Fleet interface {
	Nodes() []fleet.Node
	Cordon(ctx context.Context, actor, node, reason string) error
	Uncordon(ctx context.Context, actor, node string) error
}

// CordonReason says why a node is to take no new work.
type CordonReason struct {
	Reason string `json:"reason"`
}

type nodePath struct {
	Node string `path:"node"`
	Change
}

func (s *server) fleetRoutes() {
	get(s, "/fleet", "The machines and what they have for tasks", s.listNodes)
	send(s, route{method: http.MethodPost, path: "/fleet/{node}/cordon", summary: "Stop new work on a node; what runs goes on"}, s.cordon)
	send(s, route{method: http.MethodPost, path: "/fleet/{node}/uncordon", summary: "Let a node take work again"}, s.uncordon)
}

func (s *server) listNodes(ctx context.Context, _ *none) (Page[fleet.Node], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "node"}); err != nil {
		return Page[fleet.Node]{}, err
	}
	page := Page[fleet.Node]{Items: []fleet.Node{}}
	for _, n := range s.o.Fleet.Nodes() {
		ok, err := s.visible(ctx, access.Resource{Type: "node", Name: n.Name})
		if err != nil {
			return page, err
		}
		if ok {
			page.Items = append(page.Items, n)
		}
	}
	return page, nil
}

func (s *server) node(name string) (fleet.Node, error) {
	for _, n := range s.o.Fleet.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return fleet.Node{Name: name}, errs.Errorf("api.node", errs.NotFound, "no node %q; `lineshaft fleet` lists them", name)
}

func (s *server) cordon(ctx context.Context, in *nodePath, body CordonReason) (fleet.Node, error) {
	if err := s.allow(ctx, "cordon", access.Resource{Type: "node", Name: in.Node}); err != nil {
		return fleet.Node{}, err
	}
	n, err := s.node(in.Node)
	if err != nil || in.DryRun {
		return n, err
	}
	if err := s.o.Fleet.Cordon(ctx, callOf(ctx).who.Actor(), in.Node, body.Reason); err != nil {
		return n, err
	}
	return s.node(in.Node)
}

// uncordon may be asked for a node that is away: its cordon waits for it.
func (s *server) uncordon(ctx context.Context, in *nodePath, _ none) (fleet.Node, error) {
	if err := s.allow(ctx, "cordon", access.Resource{Type: "node", Name: in.Node}); err != nil {
		return fleet.Node{}, err
	}
	if in.DryRun {
		return s.node(in.Node)
	}
	if err := s.o.Fleet.Uncordon(ctx, callOf(ctx).who.Actor(), in.Node); err != nil {
		return fleet.Node{}, err
	}
	n, err := s.node(in.Node)
	if errs.Is(err, errs.NotFound) {
		err = nil
	}
	return n, err
}
