package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/train/compress"
)

// Compressor makes smaller versions of models; *compress.Service does.
type Compressor interface {
	Compress(ctx context.Context, actor string, v model.Version, set data.Set, r compress.Request, dryRun bool) (compress.Result, error)
}

func (s *server) compressRoutes() {
	send(s, route{
		method: http.MethodPost, path: "/models/{name}/versions/{version}/compress", slow: true,
		summary: "Make a smaller, faster version (int8, bf16, pruned), measured beside the old one; refused where it answers too much worse",
	}, s.compress)
}

// compress needs what uploading a version needs, and to read the version and the data set.
func (s *server) compress(ctx context.Context, in *versionChange, r compress.Request) (compress.Result, error) {
	v, err := s.version(ctx, &in.VersionPath, "read")
	if err == nil {
		err = s.allow(ctx, "create", modelResource(in.Name))
	}
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return compress.Result{}, err
	}
	if r.Data == "" {
		if r.Data, err = trainedOn(v); err != nil {
			return compress.Result{}, err
		}
	}
	set, err := s.set(ctx, r.Data, "read")
	if err != nil {
		return compress.Result{}, err
	}
	return s.o.Compressor.Compress(ctx, callOf(ctx).who.Actor(), v, set, r, in.DryRun)
}

// trainedOn is the data set that a version's lineage names first: "mnist@1 sha256:…".
func trainedOn(v model.Version) (string, error) {
	if len(v.Lineage.Data) == 0 {
		return "", errs.Errorf("api.compress", errs.Invalid, "it is not known what %s:%d was trained with: name the data set to measure on (data, or --on)", v.Model, v.Version)
	}
	ref, _, _ := strings.Cut(v.Lineage.Data[0], " ")
	return ref, nil
}
