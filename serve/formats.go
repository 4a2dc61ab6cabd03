package serve

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
)

// Formats is a Runtime of several, chosen by the format of the model.
type Formats map[model.Format]Runtime

// Load has the runtime of the format load the model.
func (f Formats) Load(ctx context.Context, format model.Format, r io.ReaderAt, size int64) (Servable, error) {
	rt, ok := f[format]
	if !ok {
		var known []string
		for _, k := range slices.Sorted(maps.Keys(f)) {
			known = append(known, string(k))
		}
		return nil, errs.Errorf("serve.Load", errs.Unsupported, "no runtime here serves models of the format %q; it serves %s", format, strings.Join(known, ", "))
	}
	return rt.Load(ctx, format, r, size)
}
