package job

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
)

// An array is many jobs by one submission that differ in their place in it, and perhaps in some variables of their
// environment. Each is a job of its own, with its own record, log and retries; they are accepted together or not at all,
// have numbers in a row, and the scheduler lets at most Limit of them run at once.

// maxArray bounds the jobs of an array.
const maxArray = 10_000

// Array makes a job many.
type Array struct {
	Count int `json:"count,omitempty" yaml:"count,omitempty"`
	// Over gives variables of the environment their values: one job for each combination, the last name by the alphabet
	// changing fastest. It stands instead of Count.
	Over  map[string]Values `json:"over,omitempty" yaml:"over,omitempty"`
	Limit int               `json:"limit,omitempty" yaml:"limit,omitempty"` // that run at once; all when 0
}

// Values are texts, numbers or truths, each as it is written.
type Values []string

// UnmarshalJSON reads a list of scalars.
func (v *Values) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return errs.Errorf("job.Values", errs.Invalid, "give a list of values, such as [0.1, 0.01]")
	}
	out := make(Values, len(list))
	for i, raw := range list {
		switch {
		case raw[0] == '"':
			if err := json.Unmarshal(raw, &out[i]); err != nil {
				return errs.Errorf("job.Values", errs.Invalid, "%s is no text", raw)
			}
		case raw[0] == '{' || raw[0] == '[' || string(raw) == "null":
			return errs.Errorf("job.Values", errs.Invalid, "%s is no value: give texts, numbers, true or false", raw)
		default:
			out[i] = string(raw)
		}
	}
	*v = out
	return nil
}

// Member says which job of which array it is.
type Member struct {
	ID    ID  `json:"id"`    // of the array's first job, which names the array
	Index int `json:"index"` // from 0
	Count int `json:"count"`

	Members map[State]int `json:"members,omitempty"` // of the whole array by state, where a listing folds it
}

// Members is how many jobs the array has.
func (a *Array) Members() int {
	if a == nil {
		return 1
	}
	n := max(a.Count, 1)
	for _, values := range a.Over {
		if n *= len(values); n > maxArray {
			return n
		}
	}
	return n
}

// Values are the variables of one member.
func (a *Array) Values(index int) map[string]string {
	out := map[string]string{}
	names := slices.Sorted(maps.Keys(a.Over))
	for _, name := range slices.Backward(names) {
		values := a.Over[name]
		out[name] = values[index%len(values)]
		index /= len(values)
	}
	return out
}

func (s Spec) checkArray() error {
	a := s.Array
	if a == nil {
		return nil
	}
	switch {
	case s.Kind == Service:
		return invalid("a service is no array: `tasks` says how many replicas it has")
	case s.Kind == Train:
		return invalid("a train job is no array: the built-in trainer does not read its place in it")
	case a.Count < 0 || a.Count == 0 && len(a.Over) == 0:
		return invalid("array: give `count`, or `over` with the values of variables")
	case a.Count > 0 && len(a.Over) > 0:
		return invalid("array has `count` and `over`: give one of them")
	case a.Limit < 0:
		return invalid("array.limit is %d: give how many may run at once, or leave it out", a.Limit)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Over)) {
		if err := checkEnvName("array.over", name); err != nil {
			return err
		}
		if _, twice := s.Env[name]; twice {
			return invalid("array.over: %s is set in env too", name)
		}
		if len(a.Over[name]) == 0 {
			return invalid("array.over.%s has no value", name)
		}
		for _, v := range a.Over[name] {
			if len(v) > 4096 || strings.ContainsRune(v, 0) {
				return invalid("array.over.%s has a value of more than 4096 bytes or with a zero byte", name)
			}
		}
	}
	if n := a.Members(); n > maxArray {
		return invalid("array has more than %d jobs, the most that are allowed", maxArray)
	}
	return nil
}

// expand is all jobs of a submission as they are accepted: one, or those of its array.
func expand(j Job) []Job {
	if j.Spec.Array == nil {
		return []Job{j}
	}
	out := make([]Job, j.Spec.Array.Members())
	for i := range out {
		out[i] = j.clone()
		out[i].Array = &Member{Index: i, Count: len(out)}
	}
	return out
}

// Number gives jobs of one submission their numbers, from the first on; an array has that of its first job. It is for
// stores.
func Number(jobs []Job, first ID) {
	for i := range jobs {
		jobs[i].ID = first + ID(i)
		if m := jobs[i].Array; m != nil {
			jobs[i].Array = &Member{ID: first, Index: m.Index, Count: m.Count}
		}
	}
}

// CancelArray ends all jobs of an array that have not ended, and tells of the first of them.
func (r *Runner) CancelArray(ctx context.Context, actor string, id ID) (Job, error) {
	return r.array(ctx, "job.CancelArray", id, "all its jobs have ended: there is nothing to cancel", func(j Job) Input {
		if j.State.Terminal() {
			return nil
		}
		return CancelRequested{ID: j.ID, Actor: actor}
	})
}

// RetryArray runs the jobs of an array that failed or were canceled again.
func (r *Runner) RetryArray(ctx context.Context, actor string, id ID) (Job, error) {
	return r.array(ctx, "job.RetryArray", id, "none of its jobs has failed or was canceled: there is nothing to retry", func(j Job) Input {
		if j.State != Failed && j.State != Canceled {
			return nil
		}
		return RetryRequested{Job: j, Actor: actor}
	})
}

// array does one thing to the members of an array that it is for, in one step.
func (r *Runner) array(ctx context.Context, op string, id ID, none string, in func(Job) Input) (Job, error) {
	err := r.call(ctx, func(l *loop) error {
		members, err := l.o.Store.ListJobs(context.WithoutCancel(ctx), Filter{Array: id, Limit: maxArray})
		if err != nil {
			return err
		}
		if len(members) == 0 {
			return errs.Errorf(op, errs.NotFound, "no array %d; `lineshaft jobs` lists arrays by their first job", id)
		}
		var inputs []Input
		for _, j := range slices.Backward(members) {
			if got := in(j); got != nil {
				inputs = append(inputs, got)
			}
		}
		if len(inputs) == 0 {
			return errs.Errorf(op, errs.Conflict, "array %d: %s", id, none)
		}
		if _, again := inputs[0].(RetryRequested); again {
			if err := l.o.Limits.more(members[0].Owner, len(inputs), l.core.Jobs()); err != nil {
				return err
			}
		}
		return l.step(inputs...)
	})
	if err != nil && !errs.Is(err, errs.Conflict) {
		return Job{}, err
	}
	folded, gone := r.Array(ctx, id)
	if gone != nil {
		return Job{}, gone
	}
	return folded, err
}

// Array is an array folded: its first job, with how many are in each state.
func (r *Runner) Array(ctx context.Context, id ID) (Job, error) {
	list, err := r.o.Store.ListJobs(ctx, Filter{Array: id, Fold: true, Limit: 1})
	if err == nil && len(list) == 0 {
		err = errs.Errorf("job.Array", errs.NotFound, "no array %d; `lineshaft jobs` lists arrays by their first job", id)
	}
	if err != nil {
		return Job{}, err
	}
	return list[0], nil
}

// create writes the jobs of a submission down, all or none.
func (l *loop) create(ctx context.Context, jobs []Job, actor string) ([]Job, error) {
	return l.o.Store.CreateJobs(ctx, jobs, event.New("jobs", "job.submitted", "job/", actor, nil))
}

// arrayEnv is what a member's tasks are told of the array.
func (j Job) arrayEnv() map[string]string {
	out := j.Spec.Array.Values(j.Array.Index)
	out["LINESHAFT_ARRAY"] = j.Array.ID.String()
	out["LINESHAFT_ARRAY_INDEX"] = strconv.Itoa(j.Array.Index)
	out["LINESHAFT_ARRAY_COUNT"] = strconv.Itoa(j.Array.Count)
	return out
}

// Env is what the job itself adds to its tasks' environment: its place in an array, its size.
func (j Job) Env() map[string]string {
	world := strconv.Itoa(j.World())
	out := map[string]string{"WORLD_SIZE": world, "LINESHAFT_TASKS": world}
	if j.Array != nil && j.Spec.Array != nil {
		maps.Copy(out, j.arrayEnv())
	}
	return out
}

// sum words what would become of an array's members.
func sum(members []Job) string {
	starts, first := 0, ""
	for _, j := range members {
		if j.State == Starting {
			starts++
		} else if first == "" {
			first = j.Reason
		}
	}
	s := fmt.Sprintf("would start %d of its %d jobs now", starts, len(members))
	if first != "" {
		s += "; the next " + first
	}
	return s
}
