package api

import (
	"context"
	"io"
	"net/http"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/id"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Sets imports and finds data sets; *data.Sets does.
type Sets interface {
	Import(ctx context.Context, actor, owner, name string, stream io.Reader) (data.Set, error)
	Find(ctx context.Context, ref string) (data.Set, error)
}

// SetRows lists data sets; *store.DB does.
type SetRows interface {
	ListSets(ctx context.Context, after string, limit int) ([]data.Set, error)
}

type dataPath struct {
	Name string `path:"name" doc:"NAME, or NAME@VERSION for an older version" example:"mnist"`
}

func (s *server) dataRoutes() {
	get(s, "/data", "List data sets by name, each with its newest version", s.listData)
	get(s, "/data/{name}", "One version of a data set, the newest without one", func(ctx context.Context, in *dataPath) (data.Set, error) {
		return s.set(ctx, in.Name, "read")
	})
	stream(s, route{
		method: http.MethodPost, path: "/data/{name}", summary: "Import a tar stream of files as a new version", slow: true,
		takes: "application/x-tar", answer: typeOf[data.Set](),
	}, s.importData)
}

func setResource(set data.Set) access.Resource {
	return access.Resource{Type: "data", Name: set.Name, Owner: set.Owner}
}

// set finds a data set that the caller may do the action to.
func (s *server) set(ctx context.Context, ref, action string) (data.Set, error) {
	set, err := s.o.Sets.Find(ctx, ref)
	if err == nil {
		err = s.allow(ctx, action, setResource(set))
	}
	return set, hidden(err, access.Resource{Type: "data", Name: ref})
}

func (s *server) listData(ctx context.Context, in *Listing) (Page[data.Set], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "data"}); err != nil {
		return Page[data.Set]{}, err
	}
	return collect(in.After, in.Limit,
		func(after string, n int) ([]data.Set, error) { return s.o.Rows.ListSets(ctx, after, n) },
		func(set data.Set) (bool, error) { return s.visible(ctx, setResource(set)) },
		func(set data.Set) string { return set.Name })
}

type dataChange struct {
	Name string `path:"name"`
	Change
}

// importData adds a version. A set that is there keeps its owner, who or whose admins add to it.
func (s *server) importData(w http.ResponseWriter, r *http.Request, in *dataChange) error {
	ctx, who := r.Context(), callOf(r.Context()).who
	if err := id.CheckName("data set", in.Name); err != nil {
		return err
	}
	owner := who.Name
	set, err := s.o.Sets.Find(ctx, in.Name)
	switch {
	case err == nil:
		owner, err = set.Owner, s.allow(ctx, "update", setResource(set))
	case errs.Is(err, errs.NotFound):
		err = s.allow(ctx, "create", access.Resource{Type: "data", Name: in.Name, Owner: owner})
	}
	if err != nil {
		return err
	}
	if in.DryRun {
		return writeJSON(w, data.Set{Name: in.Name, Version: set.Version + 1, Owner: owner, Files: []data.File{}})
	}
	set, err = s.o.Sets.Import(ctx, who.Actor(), owner, in.Name, http.MaxBytesReader(w, r.Body, s.o.UploadLimit))
	if err != nil {
		return bodyError("api.importData", err)
	}
	return writeJSON(w, set)
}
