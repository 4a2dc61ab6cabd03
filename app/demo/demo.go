// Package demo is the demonstration of `lineshaft up --demo`: the life of one model from data to answers, as an ordinary
// client of the server's API.
//
// Every step first looks whether it was done: a demonstration that was killed and is started again continues where it
// was and repeats nothing.
package demo

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/examples"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/mnist"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/train"
)

// Options of Run.
type Options struct {
	Client *client.Client
	// Serve is the address of serving, http://127.0.0.1:8501, and Console that of the console.
	Serve, Console string
	// Files is the folder that holds MNIST's four files.
	Files string
	// Epochs shortens the training where it is above zero.
	Epochs int
	Out    io.Writer
	// Live says that Out is a terminal, on which a line may be written over.
	Live bool
	// Pause is the time between looks at the job; 100 ms.
	Pause time.Duration
}

// name of the data set, the job and the model.
const name = "mnist"

type story struct {
	Options
	step int
}

// Run tells the story to its end.
func Run(ctx context.Context, o Options) error {
	if o.Pause <= 0 {
		o.Pause = 100 * time.Millisecond
	}
	s := &story{Options: o}
	set, err := s.data(ctx)
	if err != nil {
		return err
	}
	j, err := s.train(ctx, set)
	if err != nil {
		return err
	}
	if err := s.evaluate(ctx, j); err != nil {
		return err
	}
	if err := s.deploy(ctx, j); err != nil {
		return err
	}
	if err := s.ask(ctx); err != nil {
		return err
	}
	s.next(j)
	return nil
}

// say begins a step of the story, or, without a title, goes on with it.
func (s *story) say(title, format string, args ...any) {
	number := " "
	if title != "" {
		s.step++
		number = fmt.Sprint(s.step)
	}
	fmt.Fprintf(s.Out, "  %s  %-9s %s\n", number, title, fmt.Sprintf(format, args...))
}

// sums are the digests that the four files must have, by name.
func sums() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(mnist.Sums) {
		if f := strings.Fields(line); len(f) == 2 {
			out[f[1]] = "sha256:" + f[0]
		}
	}
	return out
}

// data imports MNIST's real files, whose digests are known.
func (s *story) data(ctx context.Context) (data.Set, error) {
	const op = "demo.data"
	want := sums()
	set, err := s.Client.DataSet(ctx, name)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return set, err
	}
	if err != nil {
		body, w := io.Pipe()
		go func() { w.CloseWithError(pack(w, s.Files, want)) }()
		set, err = s.Client.ImportData(ctx, name, body, false)
		body.Close()
		if err != nil {
			return set, err
		}
	}
	for _, f := range set.Files {
		if want[f.Name] != f.Digest {
			return set, errs.Errorf(op, errs.Conflict, "data set %s is there and is not MNIST (%s differs): use another data folder for the demonstration", set.Ref(), f.Name)
		}
	}
	s.say("data", "%s: 60,000 + 10,000 images of digits, %s, sealed", set.Ref(), units.Bytes(set.Size))
	return set, nil
}

// pack streams the files as a tar archive.
func pack(w io.Writer, dir string, want map[string]string) error {
	t := tar.NewWriter(w)
	for file := range want {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return errs.Errorf("demo.pack", errs.NotFound, "the demonstration needs MNIST's files, which `make build` puts beside the binary: %v; name their folder with --mnist DIR", err)
		}
		if err := t.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := t.Write(b); err != nil {
			return err
		}
	}
	return t.Close()
}

// spec is the example's specification, with the epochs that were asked for.
func (s *story) spec() (text []byte, cfg train.Config, err error) {
	const op = "demo.spec"
	var doc map[string]any
	text, err = yaml.YAMLToJSON(examples.MNIST)
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		return nil, cfg, errs.E(op, errs.Other, err)
	}
	section, _ := doc["train"].(map[string]any)
	if s.Epochs > 0 {
		section["epochs"] = s.Epochs
	}
	if text, err = json.Marshal(section); err == nil {
		err = json.Unmarshal(text, &cfg)
	}
	if err != nil {
		return nil, cfg, errs.E(op, errs.Other, err)
	}
	text, err = json.Marshal(doc)
	return text, cfg.Defaults(), errs.E(op, errs.Other, err)
}

// train submits the job, or finds the one an earlier start submitted, and follows it to its end.
func (s *story) train(ctx context.Context, set data.Set) (job.Job, error) {
	const op = "demo.train"
	text, cfg, err := s.spec()
	if err != nil {
		return job.Job{}, err
	}
	j, err := s.earlier(ctx, cfg)
	if err != nil {
		return j, err
	}
	if j.ID == 0 {
		if j, err = s.Client.Submit(ctx, text, "application/json", false); err != nil {
			return j, err
		}
	}
	s.say("train", "job/%d on %s: %s", j.ID, set.Ref(), cfg.Describe())
	s.say("", "%d epochs, batches of %d, %s, validated on the test images", cfg.Epochs, cfg.Batch, cfg.Optimizer.Type)
	if j, err = s.follow(ctx, j); err != nil {
		return j, err
	}
	if j.State != job.Succeeded {
		return j, errs.Errorf(op, errs.Conflict, "job/%d has %s: %s; `lineshaft logs %d` shows its log, `lineshaft retry %d` tries again", j.ID, j.State, j.Reason, j.ID, j.ID)
	}
	if j.Model == nil {
		return j, errs.Errorf(op, errs.Corrupt, "job/%d has succeeded and registered no model", j.ID)
	}
	return j, nil
}

// earlier finds the demonstration's own job: the newest training with this configuration that did not fail.
func (s *story) earlier(ctx context.Context, cfg train.Config) (job.Job, error) {
	jobs, err := s.Client.Jobs(ctx, job.Filter{})
	if err != nil {
		return job.Job{}, err
	}
	want, err := json.Marshal(cfg)
	if err != nil {
		return job.Job{}, errs.E("demo.earlier", errs.Other, err)
	}
	for _, j := range jobs {
		var has train.Config
		if j.Name != name || j.Kind != job.Train || j.State == job.Failed || j.State == job.Canceled || json.Unmarshal(j.Spec.Train, &has) != nil {
			continue
		}
		if got, err := json.Marshal(has.Defaults()); err == nil && bytes.Equal(got, want) {
			return j, nil
		}
	}
	return job.Job{}, nil
}

// follow shows the job's progress until it has ended: on a terminal as one line that is written over, else as a line for
// every epoch.
func (s *story) follow(ctx context.Context, j job.Job) (job.Job, error) {
	epochs := curve{id: j.ID}
	for {
		ended := j.State.Terminal()
		if !s.Live {
			if err := epochs.tell(ctx, s.Client, s.Out); err != nil {
				return j, err
			}
		} else if j.Progress != nil {
			fmt.Fprintf(s.Out, "\r%s", bar(*j.Progress))
		}
		if ended {
			if s.Live {
				fmt.Fprintln(s.Out)
			}
			return j, nil
		}
		select {
		case <-ctx.Done():
			return j, errs.E("demo.follow", errs.Canceled, ctx.Err())
		case <-time.After(s.Pause):
		}
		var err error
		if j, err = s.Client.Job(ctx, j.ID); err != nil {
			return j, err
		}
	}
}

// curve reads a job's points as they come and tells every epoch once, though a resumed attempt may repeat one.
type curve struct {
	id     job.ID
	after  int64
	told   int
	values map[string]float64
}

func (c *curve) tell(ctx context.Context, from *client.Client, out io.Writer) error {
	points, err := from.Metrics(ctx, c.id, c.after, 0)
	if err != nil {
		return err
	}
	if c.values == nil {
		c.values = map[string]float64{}
	}
	for _, p := range points {
		c.after, c.values[p.Name] = p.Seq, p.Value
		if p.Name == "val_accuracy" && p.Epoch > c.told { // the last point of an epoch
			c.told = p.Epoch
			fmt.Fprintf(out, "               epoch %2d  loss %.4f  accuracy %.4f  validation %.4f  %.1f s\n",
				p.Epoch, c.values["loss"], c.values["accuracy"], p.Value, c.values["epoch_seconds"])
		}
	}
	return nil
}

// width of a progress bar.
const width = 20

func bar(p job.Progress) string {
	full := int(p.Fraction*width + 0.5)
	eta := fmt.Sprintf("%.0f s left", p.ETASeconds)
	if p.Fraction >= 1 {
		eta = "done"
	}
	validation := "–     " // before the first is known
	if p.ValAccuracy > 0 {
		validation = fmt.Sprintf("%.4f", p.ValAccuracy)
	}
	return fmt.Sprintf("               %s%s epoch %d/%d  loss %.4f  accuracy %.4f  validation %s  %-10s",
		strings.Repeat("█", full), strings.Repeat("░", width-full), p.Epoch, p.Epochs, p.Loss, p.Accuracy, validation, eta)
}

func (s *story) evaluate(ctx context.Context, j job.Job) error {
	v, err := s.Client.Version(ctx, j.Model.Name, j.Model.Version)
	if err != nil {
		return err
	}
	took := ""
	if j.Started != nil && j.Finished != nil {
		took = fmt.Sprintf(", trained in %.0f s", j.Finished.Sub(*j.Started).Seconds())
	}
	s.say("evaluate", "accuracy %.4f, loss %.4f on the 10,000 test images%s", v.Metrics["val_accuracy"], v.Metrics["val_loss"], took)
	s.say("register", "%s:%d, %s, %s…, sealed", v.Model, v.Version, units.Bytes(v.Size), v.Digest[:min(19, len(v.Digest))])
	return nil
}

// deploy puts the version into service, unless it is.
func (s *story) deploy(ctx context.Context, j job.Job) error {
	svc, err := s.Client.Service(ctx, name)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	serves := false
	for _, v := range svc.Versions {
		serves = serves || v.Version == j.Model.Version && v.State == "AVAILABLE"
	}
	if !serves {
		if svc, err = s.Client.Deploy(ctx, name, j.Model.Version, "", false); err != nil {
			return err
		}
	}
	s.say("deploy", "%s/v1/models/%s answers with version %d", s.Serve, name, j.Model.Version)
	return nil
}

// digit is one test image with its truth.
type digit struct {
	pixels []byte
	label  byte
}

// digits takes the first test images from the files, ten of them.
func digits(dir string) ([]digit, error) {
	const limit = 64 << 20
	read := func(file string) ([]byte, error) {
		f, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			return nil, errs.E("demo.digits", errs.NotFound, err)
		}
		defer f.Close()
		_, b, err := train.ReadIDX(f, limit)
		return b, err
	}
	images, err := read("t10k-images-idx3-ubyte.gz")
	if err != nil {
		return nil, err
	}
	labels, err := read("t10k-labels-idx1-ubyte.gz")
	if err != nil {
		return nil, err
	}
	var out []digit
	for i := range 10 {
		out = append(out, digit{images[i*side*side : (i+1)*side*side], labels[i]})
	}
	return out, nil
}

// ask sends ten test digits to the serving port, as any program would, and shows the answers.
func (s *story) ask(ctx context.Context) error {
	list, err := digits(s.Files)
	if err != nil {
		return err
	}
	answers, err := s.predict(ctx, list)
	if err != nil {
		return err
	}
	s.say("ask", "ten test images by POST %s/v1/models/%s:predict", s.Serve, name)
	for row := range slices.Chunk([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 5) {
		fmt.Fprintln(s.Out)
		for y := range rows {
			for _, i := range row {
				fmt.Fprintf(s.Out, "  %s", draw(list[i].pixels)[y])
			}
			fmt.Fprintln(s.Out)
		}
		for _, i := range row {
			fmt.Fprintf(s.Out, "  %-*s", columns, fmt.Sprintf("truth %d", list[i].label))
		}
		fmt.Fprintln(s.Out)
		for _, i := range row {
			best := largest(answers[i])
			fmt.Fprintf(s.Out, "  %-*s", columns, fmt.Sprintf("says %d %.1f%%", best, 100*answers[i][best]))
		}
		fmt.Fprintln(s.Out)
	}
	return nil
}

func largest(p []float64) int {
	best := 0
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
	}
	return best
}

// predict is TensorFlow Serving's call: the pixels, divided by 255, in rows.
func (s *story) predict(ctx context.Context, list []digit) ([][]float64, error) {
	const op = "demo.predict"
	var in struct {
		Instances [][]float64 `json:"instances"`
	}
	for _, d := range list {
		x := make([]float64, len(d.pixels))
		for i, v := range d.pixels {
			x[i] = float64(float32(v) / 255)
		}
		in.Instances = append(in.Instances, x)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Serve+"/v1/models/"+name+":predict", bytes.NewReader(text))
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, errs.E(op, errs.Unavailable, err)
	}
	defer resp.Body.Close()
	var out struct {
		Predictions [][]float64 `json:"predictions"`
		Error       string      `json:"error"`
	}
	err = json.NewDecoder(resp.Body).Decode(&out)
	switch {
	case out.Error != "":
		return nil, errs.Errorf(op, errs.Other, "the serving port answers %s: %s", resp.Status, out.Error)
	case err != nil:
		return nil, errs.E(op, errs.Other, err)
	case len(out.Predictions) != len(list):
		return nil, errs.E(op, errs.Other, errors.New("the serving port gave other than one answer an image"))
	}
	return out.Predictions, nil
}

// next says what to try now.
func (s *story) next(j job.Job) {
	fmt.Fprintf(s.Out, `
  Try next:
    lineshaft jobs                                 what ran
    lineshaft why job/%-4d                         why it ran as it did, how it was isolated
    lineshaft models export mnist --to model.h5    a Keras file, granted and audited
    curl -X POST -F "file=@model.h5" %s/v1/models/mnist:load
    lineshaft audit verify                         that nobody rewrote the record
    %-46s the console: draw a digit on its Serving page
`, j.ID, s.Serve, s.Console)
}
