package job

import (
	"fmt"
	"strings"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// Limits bound what may be submitted. A zero field takes the default.
type Limits struct {
	Active int  // jobs that have not ended, of all owners; 10,000
	Owned  int  // of one owner; 1,000
	Images bool // whether the executor runs container images
}

func (l Limits) defaults() Limits {
	if l.Active == 0 {
		l.Active = 10_000
	}
	if l.Owned == 0 {
		l.Owned = 1_000
	}
	return l
}

// Admit says why a job is not accepted: it asks for what is not offered here, too many are there, or it would never
// run in this hall, not even if it were empty.
func (l Limits) Admit(j Job, hall sched.Snapshot, active []Job) error {
	const op = "job.Admit"
	if j.Spec.Image != "" && !l.Images {
		return errs.Errorf(op, errs.Unsupported,
			"image %q: this server runs programs as isolated processes and has no container engine; leave out `image` and upload the code", j.Spec.Image)
	}
	if err := l.more(j.Owner, j.Spec.Array.Members(), active); err != nil {
		return err
	}
	if err := sameName(j, active); err != nil {
		return err
	}
	if reasons := sched.Fits(hall, j.whole()); len(reasons) > 0 {
		return errs.Errorf(op, errs.Invalid, "the job would never fit: %s", never(reasons, len(hall.Nodes)))
	}
	return nil
}

// more refuses more jobs of an owner than may be there.
func (l Limits) more(owner string, n int, active []Job) error {
	const op = "job.Admit"
	l = l.defaults()
	owned := 0
	for _, other := range active {
		if other.Owner == owner {
			owned++
		}
	}
	switch {
	case n > 1 && (len(active)+n > l.Active || owned+n > l.Owned):
		return errs.Errorf(op, errs.Exhausted, "the array has %d jobs, and %s may have %d more that have not ended: make it smaller, wait for some, or cancel some",
			n, owner, max(0, min(l.Active-len(active), l.Owned-owned)))
	case len(active) >= l.Active:
		return errs.Errorf(op, errs.Exhausted, "the server has %d jobs that have not ended, its limit: wait for some, or cancel some", len(active))
	case owned >= l.Owned:
		return errs.Errorf(op, errs.Exhausted, "%s has %d jobs that have not ended, the limit: wait for some, or cancel some", owner, owned)
	}
	return nil
}

// roomFor is the disk of a task: what nobody asked for is no reason to refuse a job. Where no node has so much, the
// default is half of what the largest has, which varies with what else the disk holds.
func roomFor(disk units.Bytes, nodes []fleet.Node) units.Bytes {
	var largest units.Bytes
	for _, n := range nodes {
		largest = max(largest, n.Disk)
	}
	if disk != DefaultDisk || largest >= disk || largest < 2*units.MiB {
		return disk
	}
	return largest / 2 / units.MiB * units.MiB
}

// never words why nothing here could ever hold the gang.
func never(reasons []sched.Reason, nodes int) string {
	var out []string
	for _, r := range reasons {
		what := r.Needed + " " + r.Constraint
		if r.Constraint == "model" {
			what = "accelerators (" + r.Needed + ")"
		}
		switch {
		case r.Constraint == "gang":
			out = append(out, fmt.Sprintf("its %s tasks run together, and %s fit", r.Needed, r.Offered))
		case r.Constraint == "nodes":
			out = append(out, "there is no node")
		case r.Constraint == "topology":
			out = append(out, fmt.Sprintf("its tasks are to run %s, and the most that one holds is %s", r.Needed, r.Offered))
		case r.Constraint == "power":
			out = append(out, fmt.Sprintf("a task draws up to %s, and no node has more than %s for it", r.Needed, r.Offered))
		case r.Constraint == "power cap":
			out = append(out, fmt.Sprintf("a task draws up to %s, and the power caps leave %s even when nothing runs", r.Needed, r.Offered))
		case r.Constraint == "uplink":
			out = append(out, fmt.Sprintf("a task of a job that spans racks takes %s of its rack's uplink, which has %s", r.Needed, r.Offered))
		case r.Nodes < nodes: // the others have it, and lack something else
			out = append(out, fmt.Sprintf("a task asks for %s, which %d of %d nodes do not have", what, r.Nodes, nodes))
		case r.Constraint == "model" && r.Offered == "0":
			out = append(out, fmt.Sprintf("a task asks for %s, and no node has such", what))
		case r.Constraint == "model":
			out = append(out, fmt.Sprintf("a task asks for %s, and no node has more than %s such", what, r.Offered))
		default:
			out = append(out, fmt.Sprintf("a task asks for %s on one node, and the largest has %s", what, r.Offered))
		}
	}
	return strings.Join(out, "; ") + "; ask for less"
}
