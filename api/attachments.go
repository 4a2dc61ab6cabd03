package api

import (
	"context"
	"net/http"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

// Attachments keeps what belongs to versions of models beside their artifacts; *model.Registry does.
type Attachments interface {
	Attach(ctx context.Context, actor string, v model.Version, name string, body []byte) (model.Attachment, error)
	Attached(ctx context.Context, v model.Version, name string) ([]byte, model.Attachment, error)
	Detach(ctx context.Context, actor string, v model.Version, name string) error
}

// Warmup says what warm-up requests a version has.
type Warmup struct {
	Requests int       `json:"requests"`
	Size     int64     `json:"size"`
	Creator  string    `json:"creator"`
	Created  time.Time `json:"created,omitzero"`
}

type versionChange struct {
	VersionPath
	Change
}

func (s *server) attachmentRoutes() {
	get(s, "/models/{name}/versions/{version}/warmup", "What warm-up requests a version has", s.warmup)
	stream(s, route{
		method: http.MethodPut, path: "/models/{name}/versions/{version}/warmup", takes: "application/json", answer: typeOf[Warmup](),
		summary: `Store the requests that a version answers before it answers others: {"requests": […]} of bodies of the predict call`,
	}, s.setWarmup)
	send(s, route{method: http.MethodDelete, path: "/models/{name}/versions/{version}/warmup", summary: "Remove a version's warm-up requests"}, s.deleteWarmup)
}

func (s *server) warmup(ctx context.Context, in *VersionPath) (Warmup, error) {
	v, err := s.version(ctx, in, "read")
	if err != nil {
		return Warmup{}, err
	}
	body, a, err := s.o.Models.Attached(ctx, v, model.Warmup)
	if errs.Is(err, errs.NotFound) {
		err = errs.Errorf("api.warmup", errs.NotFound, "%s:%d has no warm-up requests; `lineshaft models warmup %[1]s:%[2]d --file FILE` stores some", v.Model, v.Version)
	}
	if err != nil {
		return Warmup{}, err
	}
	all, err := tfserving.WarmRequests(body)
	return Warmup{len(all), a.Size, a.Creator, a.Created}, err
}

func (s *server) setWarmup(w http.ResponseWriter, r *http.Request, in *versionChange) error {
	ctx := r.Context()
	v, err := s.version(ctx, &in.VersionPath, "update")
	if err != nil {
		return err
	}
	body, err := read(w, r, model.MaxAttachment)
	if err != nil {
		return err
	}
	all, err := tfserving.WarmRequests(body)
	if err != nil {
		return err
	}
	out := Warmup{Requests: len(all), Size: int64(len(body)), Creator: callOf(ctx).who.Actor()}
	if !in.DryRun {
		a, err := s.o.Models.Attach(ctx, out.Creator, v, model.Warmup, body)
		if err != nil {
			return err
		}
		out.Created = a.Created
	}
	return writeJSON(w, out)
}

func (s *server) deleteWarmup(ctx context.Context, in *versionChange, _ none) (none, error) {
	v, err := s.version(ctx, &in.VersionPath, "update")
	if err == nil {
		_, err = s.warmup(ctx, &in.VersionPath)
	}
	if err != nil || in.DryRun {
		return none{}, err
	}
	return none{}, s.o.Models.Detach(ctx, callOf(ctx).who.Actor(), v, model.Warmup)
}
