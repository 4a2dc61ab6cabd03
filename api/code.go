package api

import (
	"context"
	"io"
	"net/http"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Code keeps uploaded folders of code, sealed, by the digest of the archive.
type Code interface {
	Put(ctx context.Context, actor string, r io.Reader) (digest string, size int64, files int, err error)
	// Info of a digest that was never uploaded is errs.NotFound.
	Info(ctx context.Context, digest string) (artifact.Info, error)
}

// CodeFolder is an uploaded folder, as a job's `code` names it.
type CodeFolder struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Files  int    `json:"files"`
}

func (s *server) codeRoutes() {
	stream(s, route{
		method: http.MethodPost, path: "/code", summary: "Upload a folder of code as a gzipped tar archive", slow: true,
		takes: "application/gzip", answer: typeOf[CodeFolder](),
	}, s.uploadCode)
}

func (s *server) uploadCode(w http.ResponseWriter, r *http.Request, in *Change) error {
	ctx := r.Context()
	if err := s.allow(ctx, "create", access.Resource{Type: "code"}); err != nil {
		return err
	}
	if in.DryRun {
		return writeJSON(w, CodeFolder{})
	}
	digest, size, files, err := s.o.Code.Put(ctx, callOf(ctx).who.Actor(), http.MaxBytesReader(w, r.Body, s.o.UploadLimit))
	if err != nil {
		return bodyError("api.uploadCode", err)
	}
	return writeJSON(w, CodeFolder{Digest: digest, Size: size, Files: files})
}
