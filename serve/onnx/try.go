//go:build linux

package onnx

import (
	"context"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// identity is the smallest model there is: y = x, one float32.
const identity = "\x08\x08\x3a\x37\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity\x12\x01g" +
	"\x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01" +
	"\x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01" +
	"\x42\x04\x0a\x00\x10\x11"

// Try starts a worker with the library that the options name and has it compute.
func Try(ctx context.Context, o Options) (Found, error) {
	o.Lanes = 1
	m, err := New(o).Open(ctx, strings.NewReader(identity), int64(len(identity)))
	if err != nil {
		return Found{}, err
	}
	defer m.Close()
	out := make([]tensor.Tensor, 1)
	if err := m.Run(ctx, []tensor.Tensor{tensor.Float32s([]float32{42}, 1)}, out, 1); err != nil {
		return Found{}, err
	}
	if y := out[0].Float32s(); len(y) != 1 || y[0] != 42 {
		return Found{}, errs.Errorf("onnx.Try", errs.Other, "ONNX Runtime says that 42 is %v", y)
	}
	return m.About(), nil
}
