//go:build !linux

package onnx

import (
	"context"
	"io"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
)

// Runtime loads no model on this system.
type Runtime struct{}

// New makes a runtime that loads nothing.
func New(Options) *Runtime { return &Runtime{} }

func elsewhere() error {
	return errs.Errorf("onnx.Load", errs.Unsupported, "ONNX models are served on Linux only: their process shares memory with the server in Linux's way")
}

// Load says that ONNX models are served on Linux.
func (*Runtime) Load(context.Context, model.Format, io.ReaderAt, int64) (serve.Servable, error) {
	return nil, elsewhere()
}

// Try says the same.
func Try(context.Context, Options) (Found, error) { return Found{}, elsewhere() }
