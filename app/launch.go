package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/app/trainer"
	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/blob"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// launcher turns a job's task into what the executor starts, and a finished job's outputs into a model. It is the seam
// at which jobs meet data sets, keys, secrets and the registry.
type launcher struct {
	db       *store.DB
	keys     *seal.Keyring
	blobs    *blob.Store
	sets     *data.Sets
	registry *model.Registry
	secret   func(ctx context.Context, owner, name string) ([]byte, error)
	outputs  outputs
	code     *code
	log      *slog.Logger
	less     bool // tasks start although an isolation feature cannot be enforced
}

// outputs is what an executor lets the server read of an attempt.
type outputs interface {
	exec.Outputs
	// OutputPath is a file of an attempt's out folder, "" when there is none.
	OutputPath(ref exec.TaskRef, name string) string
}

// launch is job.Options.Launch.
func (l *launcher) launch(ctx context.Context, j job.Job, t job.Task) (exec.Task, error) {
	s := j.Spec
	r := s.Resources
	out := exec.Task{
		Ref: job.TaskRef(j, t), Argv: j.Argv(t), Env: map[string]string{}, User: j.Owner,
		Limits: exec.Limits{CPU: r.CPU, Memory: r.Memory, Processes: r.Processes, Disk: r.Disk, Accelerators: t.Accelerators, Share: r.Share, Storage: r.Storage, Bandwidth: r.Bandwidth},
		Policy: exec.Policy{Require: s.Isolation.Require, AllowLess: l.less, Spare: unasked(r)},
		Grace:  time.Duration(s.Grace), Timeout: time.Duration(s.Timeout), Network: s.Isolation.Network != "none",
	}
	maps.Copy(out.Env, s.Env)
	if r.Share > 0 && r.Share < 1 {
		out.Env["LINESHAFT_SHARE"] = strconv.FormatFloat(r.Share, 'f', -1, 64)
	}
	if r.AcceleratorMemory > 0 {
		out.Env["LINESHAFT_ACCELERATOR_MEMORY"] = strconv.FormatInt(int64(r.AcceleratorMemory), 10)
	}
	if s.Tasks > 1 {
		out.Env["MASTER_ADDR"] = "127.0.0.1"
		out.Env["MASTER_PORT"] = fmt.Sprint(20_000 + int64(j.ID)%10_000)
	}
	maps.Copy(out.Env, j.Env())
	if t.Port != 0 {
		out.Env["PORT"], out.Env["HOST"] = strconv.Itoa(t.Port), "127.0.0.1"
	}
	for _, ref := range s.Secrets {
		value, err := l.secret(ctx, j.Owner, ref.Name)
		if err != nil {
			return exec.Task{}, err
		}
		out.Secrets = append(out.Secrets, exec.Secret{Env: ref.Env, File: ref.File, Value: value})
	}
	if s.Code != "" {
		packed, err := l.code.Info(ctx, s.Code)
		if err != nil {
			return exec.Task{}, err
		}
		open := func() (io.ReadCloser, error) { return l.code.open(ctx, packed) }
		out.Files = append(out.Files, exec.File{Name: ".", Unpack: true, Open: open})
	}
	// The call comes first: Go does not say whether `return out, f(&out)` reads out before or after it.
	var err error
	if j.Kind == job.Train {
		err = l.trainer(ctx, j, t, &out)
	} else {
		err = l.inputs(ctx, s.Data, &out)
		l.resume(j, t, &out)
	}
	return out, err
}

// checkpointFile is what a user's program leaves in its out folder to go on from, and checkpointFD the name of the
// descriptor under which a later attempt finds it.
const (
	checkpointFile = "checkpoint"
	checkpointFD   = "CHECKPOINT"
)

// resume hands a user's program the newest checkpoint that an earlier attempt of its task has left or, where it has left
// none, that of task 0, as LINESHAFT_FD_CHECKPOINT.
func (l *launcher) resume(j job.Job, t job.Task, out *exec.Task) {
	path := l.newest(j, t, checkpointFile)
	if path == "" && t.Index > 0 {
		path = l.newest(j, j.Tasks[0], checkpointFile)
	}
	if path != "" {
		out.Inherit = append(out.Inherit, exec.Inherit{Name: checkpointFD, Path: path})
	}
}

// unasked lists the limits that a job has by default. Where they cannot be enforced the job runs all the same, and `why`
// says so; what was asked for is refused then.
func unasked(r job.Resources) (spare []string) {
	for _, l := range []struct {
		name  string
		usual bool
	}{
		{"cpu-limit", r.CPU == job.DefaultCPU},
		{"memory-limit", r.Memory == job.DefaultMemory},
		{"disk-limit", r.Disk == job.DefaultDisk},
		{"process-limit", r.Processes == job.DefaultProcesses},
		// What is counted everywhere and enforced where the machine can: who must have it says so in isolation.require.
		{"accelerator-share", true},
		{"storage-limit", true},
		{"bandwidth-limit", true},
	} {
		if l.usual {
			spare = append(spare, l.name)
		}
	}
	return spare
}

// trainer makes the task one of the built-in trainer.
func (l *launcher) trainer(ctx context.Context, j job.Job, t job.Task, out *exec.Task) error {
	const op = "app.trainer"
	plan := trainer.Plan{Job: j.ID.String()}
	if err := json.Unmarshal(j.Spec.Train, &plan.Config); err != nil {
		return errs.Errorf(op, errs.Invalid, "the section train does not parse: %v", err)
	}
	plan.Config = plan.Config.Defaults()
	if plan.Config.Threads == 0 {
		// What the job was promised, not what the machine has: the same everywhere, and so the weights.
		plan.Config.Threads = max(1, int(math.Ceil(j.Spec.Resources.CPU)))
	}
	if len(j.Spec.Data) != 1 {
		return errs.Errorf(op, errs.Invalid, "the built-in trainer learns from 1 data set, the job names %d: write `data: [NAME]`", len(j.Spec.Data))
	}
	set, err := l.sets.Find(ctx, j.Spec.Data[0])
	if err != nil {
		return err
	}
	plan.Format = set.Format
	for i, f := range set.Files {
		key, err := l.blobs.Key(f.Artifact())
		if err != nil {
			return err
		}
		fd := fmt.Sprintf("DATA%d", i)
		plan.Files = append(plan.Files, trainer.File{Name: f.Name, FD: fd, Key: key, Context: blob.Context, Size: f.Size})
		out.Inherit = append(out.Inherit, exec.Inherit{Name: fd, Path: l.blobs.Path(f.Artifact())})
	}
	if plan.Key, err = l.jobKey(ctx, j.ID); err != nil {
		return err
	}
	if path := l.newest(j, t, trainer.CheckpointFile); path != "" {
		plan.Resume = true
		out.Inherit = append(out.Inherit, exec.Inherit{Name: trainer.ResumeFD, Path: path})
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	out.Inherit = append(out.Inherit, exec.Inherit{Name: trainer.PlanFD, Data: text})
	out.Argv = []string{exec.Self, trainer.Command}
	return nil
}

// newest finds what an earlier attempt of the task left, the latest first.
func (l *launcher) newest(j job.Job, t job.Task, name string) string {
	for a := t.Attempt - 1; a > 0; a-- {
		t.Attempt = a
		if path := l.outputs.OutputPath(job.TaskRef(j, t), name); path != "" {
			return path
		}
	}
	return ""
}

// jobKey is a job's data key. It is made when the job first starts and is the same for all attempts; a setting holds it,
// wrapped.
func (l *launcher) jobKey(ctx context.Context, id job.ID) (seal.DataKey, error) {
	name := store.JobKeys + id.String()
	wrapped, err := l.db.Setting(ctx, name)
	if err != nil {
		return seal.DataKey{}, err
	}
	if wrapped != "" {
		return l.keys.Unwrap(wrapped, name)
	}
	key := seal.NewDataKey()
	if wrapped, err = l.keys.Wrap(key, name); err != nil {
		return seal.DataKey{}, err
	}
	return key, l.db.SetSetting(ctx, name, wrapped)
}

// maxInherited bounds the data sets that a user's program gets in memory.
const maxInherited = 512 << 20

// inputs hands data sets to a user's program: in memory, as descriptors, so that nothing plain reaches a disk. The
// variable LINESHAFT_DATA is a JSON object from "SET/FILE" to the path under which the program opens the file.
func (l *launcher) inputs(ctx context.Context, refs []string, out *exec.Task) error {
	const op = "app.inputs"
	if len(refs) == 0 {
		return nil
	}
	paths, total := map[string]string{}, int64(0)
	for _, ref := range refs {
		set, err := l.sets.Find(ctx, ref)
		if err != nil {
			return err
		}
		if total += set.Size; total > maxInherited {
			return errs.Errorf(op, errs.TooLarge, "the data sets of the job come to more than %d bytes, what a program can be given in memory", int64(maxInherited))
		}
		for _, f := range set.Files {
			plain, err := l.plain(ctx, f.Artifact())
			if err != nil {
				return err
			}
			paths[set.Name+"/"+f.Name] = fmt.Sprintf("/proc/self/fd/%d", 3+len(out.Inherit))
			out.Inherit = append(out.Inherit, exec.Inherit{Name: fmt.Sprintf("DATA%d", len(out.Inherit)), Data: plain})
		}
	}
	text, err := json.Marshal(paths)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	out.Env["LINESHAFT_DATA"] = string(text)
	return nil
}

func (l *launcher) plain(ctx context.Context, info artifact.Info) ([]byte, error) {
	at, err := l.blobs.OpenAt(ctx, info)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	b := make([]byte, info.Size)
	_, err = io.ReadFull(io.NewSectionReader(at, 0, info.Size), b)
	return b, errs.E("app.plain", errs.Other, err)
}

// finish is job.Options.OnFinish: it registers what the job made. A replay finds the version that is there, because
// the registry knows it by job and digest.
func (l *launcher) finish(ctx context.Context, j job.Job) (*job.ModelRef, error) {
	const op = "app.finish"
	if j.Spec.Register == "" {
		return nil, nil
	}
	v := model.Version{Model: j.Spec.Register, Format: model.KerasH5, Source: "job/" + j.ID.String()}
	v.Lineage = model.Lineage{Job: int64(j.ID), Attempt: j.Attempt}
	var err error
	if v.Lineage.Spec, err = json.Marshal(j.Spec); err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	for _, ref := range j.Spec.Data {
		set, err := l.sets.Find(ctx, ref)
		if err != nil {
			return nil, err
		}
		v.Lineage.Data = append(v.Lineage.Data, set.String())
	}
	body, err := l.result(ctx, j, &v)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	info, err := l.blobs.Put(ctx, body, l.registry.Limit)
	if err != nil {
		return nil, err
	}
	made, err := l.registry.Add(ctx, "user/"+j.Owner, v, info)
	if err != nil {
		return nil, err
	}
	if err := l.reference(ctx, j, made); err != nil { // the model is there all the same
		l.log.Warn("a version's drift cannot be watched: how its training data is distributed was not kept", "version", made.Subject(), "error", errs.Trace(err))
	}
	return &job.ModelRef{Name: made.Model, Version: made.Version}, nil
}

// reference attaches what the trainer left about its data to the version.
func (l *launcher) reference(ctx context.Context, j job.Job, v model.Version) error {
	if j.Kind != job.Train {
		return nil
	}
	key, err := l.jobKey(ctx, j.ID)
	if err != nil {
		return err
	}
	f, err := l.outputs.Output(ctx, job.TaskRef(j, j.Tasks[0]), trainer.ReferenceFile)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := seal.Reader(f, key, trainer.ReferenceContext(j.ID.String()))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(plain, model.MaxAttachment+1))
	if err != nil {
		return err
	}
	_, err = l.registry.Attach(ctx, "user/"+j.Owner, v, model.Reference, body)
	return err
}

// result opens the plain bytes of what the job made, and fills in format and metrics.
func (l *launcher) result(ctx context.Context, j job.Job, v *model.Version) (io.ReadCloser, error) {
	ref := job.TaskRef(j, j.Tasks[0])
	if j.Kind == job.Train {
		if p := j.Progress; p != nil {
			v.Metrics = map[string]float64{"loss": p.Loss, "accuracy": p.Accuracy, "val_loss": p.ValLoss, "val_accuracy": p.ValAccuracy}
		}
		key, err := l.jobKey(ctx, j.ID)
		if err != nil {
			return nil, err
		}
		f, err := l.outputs.Output(ctx, ref, trainer.ModelFile)
		if err != nil {
			return nil, err
		}
		plain, err := seal.Reader(f, key, trainer.ModelContext(j.ID.String()))
		if err != nil {
			f.Close()
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{plain, f}, nil
	}
	for _, name := range []string{"model.keras", "model.h5"} {
		f, err := l.outputs.Output(ctx, ref, name)
		if errs.Is(err, errs.NotFound) {
			continue
		}
		v.Format, _ = model.FormatOf(name)
		return f, err
	}
	return nil, errs.Errorf("app.result", errs.Invalid,
		"the job is to register model %s and left neither model.keras nor model.h5 in its out folder ($LINESHAFT_OUT)", v.Model)
}
