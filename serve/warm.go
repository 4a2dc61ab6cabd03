package serve

import (
	"context"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// warmTime bounds the warm-up of a version.
const warmTime = 2 * time.Minute

// warm has a version that was read answer the requests stored with it, so that the first caller does not pay for what
// happens once, and a version that does not answer at all never gets one.
func (m *Manager) warm(i *instance, s Servable) (err error) {
	const op = "serve.warm"
	if m.o.Warm == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = errs.Errorf(op, errs.Corrupt, "%s failed unexpectedly on its warm-up requests: %v", i.version.Subject(), p)
		}
	}()
	trial := newInstance(i.version) // its figures are not those of the version
	trial.hold(s)
	ctx, cancel := context.WithTimeout(m.ctx, warmTime)
	defer cancel()
	return m.o.Warm(ctx, i.version, Lease{i: trial, begun: time.Now()})
}
