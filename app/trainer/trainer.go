// Package trainer is the task of a training job: the same binary, started by the executor inside the task's sandbox.
//
// All it knows comes by inherited descriptors, never by arguments or files: the plan (Plan), which holds the keys, and
// the sealed files of the data set. All it leaves is in its out folder:
//
//	journal.jsonl  points of the curves and the progress, taken by the server by offset
//	checkpoint     sealed, replaced after every epoch; a later attempt inherits it and goes on from there
//	reference      sealed, how the training data and the answers to it are distributed (serve/drift)
//	model          sealed, a Keras HDF5 file; it appears when the training is done
//
// Nothing plain of the data or the model is written down.
package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/serve/drift"
	"github.com/lineshaft/lineshaft/serve/tensor"
	"github.com/lineshaft/lineshaft/train"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// Command is the hidden argument that makes the binary a trainer.
const Command = "__trainer"

// Names of the inherited descriptors and of what is left in the out folder.
const (
	PlanFD         = "PLAN"
	ResumeFD       = "RESUME"
	CheckpointFile = "checkpoint"
	ModelFile      = "model"
	ReferenceFile  = "reference"
	journalFile    = "journal.jsonl"
)

// Plan is what the server tells the trainer, in memory.
type Plan struct {
	Config train.Config `json:"config"`
	Format string       `json:"format"` // of the data set
	Files  []File       `json:"files"`
	Job    string       `json:"job"`
	Key    seal.DataKey `json:"key"`    // seals the checkpoint and the model
	Resume bool         `json:"resume"` // a checkpoint is inherited
}

// File is one sealed file of the data set.
type File struct {
	Name    string       `json:"name"`
	FD      string       `json:"fd"`
	Key     seal.DataKey `json:"key"`
	Context string       `json:"context"`
	Size    int64        `json:"size"` // plain bytes
}

// CheckpointContext and ModelContext bind the job's key to what it seals.
func CheckpointContext(job string) string { return "job/" + job + "/checkpoint" }

// ModelContext is that of the trained model.
func ModelContext(job string) string { return "job/" + job + "/model" }

// ReferenceContext is that of how the training data is distributed.
func ReferenceContext(job string) string { return "job/" + job + "/reference" }

// Hidden runs the trainer where the arguments say so. main calls it first.
func Hidden(args []string) (code int, handled bool) {
	if len(args) < 2 || args[1] != Command {
		return 0, false
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, os.Stdout)
	switch {
	case err == nil:
		return 0, true
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "lineshaft: stopped; the last checkpoint stays")
		return 128 + int(syscall.SIGTERM), true
	}
	fmt.Fprintln(os.Stderr, "lineshaft: "+err.Error())
	return errs.KindOf(err).ExitCode(), true
}

// descriptor opens what the executor handed in under a name.
func descriptor(name string) (*os.File, error) {
	n, err := strconv.Atoi(os.Getenv("LINESHAFT_FD_" + name))
	if err != nil {
		return nil, errs.Errorf("trainer.descriptor", errs.Invalid, "the trainer was started without its descriptor %s: it is run by the server, see `lineshaft submit`", name)
	}
	return os.NewFile(uintptr(n), name), nil
}

func run(ctx context.Context, log io.Writer) error {
	const op = "trainer.run"
	f, err := descriptor(PlanFD)
	if err != nil {
		return err
	}
	var p Plan
	err = json.NewDecoder(f).Decode(&p)
	f.Close()
	if err != nil {
		return errs.Errorf(op, errs.Invalid, "the trainer's plan does not parse: %v", err)
	}
	data, val, err := load(p)
	if err != nil {
		return err
	}
	t := &task{plan: p, out: os.Getenv("LINESHAFT_OUT"), log: log}
	if t.journal, err = os.OpenFile(filepath.Join(t.out, journalFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return errs.E(op, errs.Other, err)
	}
	defer t.journal.Close()
	resume, err := t.checkpoint()
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "%d rows, %d to validate on; %s; %d epochs of batches of %d on %d threads\n",
		data.Rows, rows(val), p.Config.Describe(), p.Config.Epochs, p.Config.Batch, p.Config.Threads)
	t.began = time.Now()
	res, err := train.Run(ctx, p.Config, data, val, resume, train.Hooks{Batch: t.batch, Epoch: t.epoch, Checkpoint: t.save})
	if err != nil {
		return err
	}
	if err := t.reference(data, res.Net); err != nil {
		return err
	}
	return t.seal(ModelFile, ModelContext(p.Job), func(w io.Writer) error { return keras.WriteH5(w, res.Model()) })
}

// referenceRows is how many rows of the training part tell how its data is distributed.
const referenceRows = 5000

// reference leaves how the training data and the answers to it are distributed, to find drift from it later.
func (t *task) reference(data *train.Dataset, net *nn.Network) error {
	const op, batch = "trainer.reference", 256
	x, n := data.Sample(t.plan.Config.Preprocess, referenceRows)
	p, err := nn.NewPredictor(net, batch)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	in, out := len(x)/n, 1
	for _, s := range net.OutputShape() {
		out *= s
	}
	y := make([]float32, n*out)
	for from := 0; from < n; from += batch {
		to := min(from+batch, n)
		if err := p.Predict(y[from*out:to*out], x[from*in:to*in], to-from); err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	ref, err := drift.Measure("training", []tensor.Tensor{tensor.Float32s(x, n, in)}, []tensor.Tensor{tensor.Float32s(y, n, out)},
		[]string{net.Layers[0].Name() + "_input"}, []string{net.Layers[len(net.Layers)-1].Name()}, n)
	if err != nil {
		return err
	}
	return t.seal(ReferenceFile, ReferenceContext(t.plan.Job), func(w io.Writer) error { return json.NewEncoder(w).Encode(ref) })
}

func rows(d *train.Dataset) int {
	if d == nil {
		return 0
	}
	return d.Rows
}

// load opens the sealed files and reads the data set from them.
func load(p Plan) (data, val *train.Dataset, err error) {
	var files []train.File
	for _, f := range p.Files {
		sealed, err := descriptor(f.FD)
		if err != nil {
			return nil, nil, err
		}
		defer sealed.Close()
		plain, err := seal.Reader(sealed, f.Key, f.Context)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, train.File{Name: f.Name, Reader: plain})
	}
	return train.Load(p.Config, p.Format, files)
}

// task is a run under way.
type task struct {
	plan    Plan
	out     string
	log     io.Writer
	journal *os.File
	began   time.Time // of this attempt
	first   int       // the epoch this attempt began with
	epochAt time.Time
	told    time.Time // of the last progress
	last    progress
}

// progress is a journal's line about how far the run is, by the names of job.Progress.
type progress struct {
	Epoch       int     `json:"epoch"`
	Epochs      int     `json:"epochs"`
	Fraction    float64 `json:"fraction"`
	ETASeconds  float64 `json:"eta_seconds"`
	Loss        float64 `json:"loss"`
	Accuracy    float64 `json:"accuracy"`
	ValLoss     float64 `json:"val_loss"`
	ValAccuracy float64 `json:"val_accuracy"`
}

// point is a journal's line about one value of a curve.
type point struct {
	Step  int64     `json:"step"`
	Epoch int       `json:"epoch"`
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Time  time.Time `json:"time"`
}

// checkpoint is the inherited checkpoint, nil when there is none.
func (t *task) checkpoint() (io.Reader, error) {
	if !t.plan.Resume {
		return nil, nil
	}
	f, err := descriptor(ResumeFD)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(t.log, "going on from the last checkpoint")
	return seal.Reader(f, t.plan.Key, CheckpointContext(t.plan.Job))
}

// tellEvery is the pause between lines of progress.
const tellEvery = 200 * time.Millisecond

func (t *task) batch(epoch, step, steps int, loss, accuracy float64) error {
	if t.first == 0 {
		t.first, t.began = epoch, time.Now()
	}
	if step == 1 {
		t.epochAt = time.Now()
	}
	if time.Since(t.told) < tellEvery {
		return nil
	}
	t.last.Epoch, t.last.Loss, t.last.Accuracy = epoch, loss, accuracy
	return t.tell(float64(epoch-1)+float64(step)/float64(steps), loss, accuracy)
}

// tell appends a line of progress; done counts epochs.
func (t *task) tell(done, loss, accuracy float64) error {
	t.told = time.Now()
	p := &t.last
	p.Epochs, p.Loss, p.Accuracy = t.plan.Config.Epochs, loss, accuracy
	p.Fraction = min(1, done/float64(p.Epochs))
	if mine := done - float64(t.first-1); mine > 0 {
		p.ETASeconds = time.Since(t.began).Seconds() / mine * (float64(p.Epochs) - done)
	}
	return t.write(map[string]progress{"progress": *p})
}

func (t *task) write(line any) error {
	b, err := json.Marshal(line)
	if err == nil {
		_, err = t.journal.Write(append(b, '\n'))
	}
	return errs.E("trainer.write", errs.Other, err)
}

func (t *task) epoch(e train.Epoch) error {
	took := time.Since(t.epochAt)
	t.last.Epoch, t.last.ValLoss, t.last.ValAccuracy = e.Epoch, e.ValLoss, e.ValAccuracy
	if err := t.tell(float64(e.Epoch), e.Loss, e.Accuracy); err != nil {
		return err
	}
	line := fmt.Sprintf("epoch %d/%d  loss %.4f", e.Epoch, e.Epochs, e.Loss)
	values := []point{{Name: "loss", Value: e.Loss}, {Name: "epoch_seconds", Value: took.Seconds()}}
	if e.HasMetric {
		line += fmt.Sprintf("  accuracy %.4f", e.Accuracy)
		values = append(values, point{Name: "accuracy", Value: e.Accuracy})
	}
	if e.HasValidation {
		line += fmt.Sprintf("  validation loss %.4f", e.ValLoss)
		values = append(values, point{Name: "val_loss", Value: e.ValLoss})
		if e.HasMetric {
			line += fmt.Sprintf("  accuracy %.4f", e.ValAccuracy)
			values = append(values, point{Name: "val_accuracy", Value: e.ValAccuracy})
		}
	}
	for _, v := range values {
		v.Step, v.Epoch, v.Time = int64(e.Epoch), e.Epoch, time.Now().UTC()
		if err := t.write(v); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.log, "%s  %.1f s\n", line, took.Seconds())
	return nil
}

func (t *task) save(_ int, write func(io.Writer) error) error {
	return t.seal(CheckpointFile, CheckpointContext(t.plan.Job), write)
}

// seal writes a sealed file that is either whole or not there.
func (t *task) seal(name, context string, write func(io.Writer) error) error {
	const op = "trainer.seal"
	path := filepath.Join(t.out, name)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	defer os.Remove(f.Name()) // half a file would keep the disk full; a whole one has its name by then
	defer f.Close()
	w, err := seal.Writer(f, t.plan.Key, context)
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		return full(op, err)
	}
	if err := w.Close(); err != nil {
		return full(op, err)
	}
	if err := f.Sync(); err != nil {
		return full(op, err)
	}
	return errs.E(op, errs.Other, os.Rename(f.Name(), path))
}

func full(op string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return errs.Errorf(op, errs.Full, "the disk is full, or the job's disk limit is reached: free some space or ask for more (resources.disk)")
	}
	return errs.E(op, errs.Other, err)
}
