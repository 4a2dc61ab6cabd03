package twin

import (
	"time"

	"github.com/lineshaft/lineshaft/sched"
)

// Watch lets a test see what runs and waits after each plan.
func Watch(o *Options, see func(now time.Time, running []sched.Running, waiting []sched.Gang)) {
	o.watch = func(r *replay) {
		s := r.snapshot()
		see(s.Now, s.Running, s.Queue)
	}
}
