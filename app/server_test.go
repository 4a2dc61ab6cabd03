package app_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/app/trainer"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
)

func TestMain(m *testing.M) {
	if code, ok := local.Hidden(os.Args); ok {
		os.Exit(code)
	}
	if len(os.Args) == 3 && os.Args[1] == "as-server" {
		asServer(os.Args[2])
	}
	if code, ok := trainer.Hidden(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// config is that of a server in a new folder on free ports.
func config(t *testing.T) app.Config {
	t.Helper()
	c := app.Defaults()
	c.Data = filepath.Join(t.TempDir(), "data")
	c.Listen, c.ServeListen, c.ServeGRPCListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// start runs a server until stop is called; stop gives what Run gave.
func start(t *testing.T, c app.Config) (s *app.Server, stop func() error) {
	t.Helper()
	s, err := app.Open(t.Context(), c, app.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			if err := stop(); err != nil {
				t.Errorf("the server ended with %v", err)
			}
		}
	})
	return s, stop
}

// archive packs files as an import streams them.
func archive(files map[string]string) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, body := range files {
		w.WriteHeader(&tar.Header{Name: name, Size: int64(len(body)), Mode: 0o644, Typeflag: tar.TypeReg})
		io.WriteString(w, body)
	}
	w.Close()
	return &b
}

// settled waits for the job's end.
func settled(t *testing.T, c *client.Client, id job.ID) job.Job {
	t.Helper()
	for range 600 {
		j, err := c.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if j.State.Terminal() {
			return j
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("job %d did not end", id)
	return job.Job{}
}

func log(t *testing.T, c *client.Client, id job.ID) string {
	t.Helper()
	r, err := c.Logs(t.Context(), id, 0, 0, false)
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	return string(b)
}

const logistic = `
name: logistic
data: [truth]
train:
  layers: [{type: dense, units: 1, activation: sigmoid}]
  optimizer: {type: sgd, learning_rate: 0.01}
  loss: binary_crossentropy
  metrics: [accuracy]
  batch: 4
  epochs: 50
register: logistic
resources: {cpu: 1, memory: 256MiB}
`

func TestATrainingJobEndsAsASealedRegisteredModel(t *testing.T) {
	c := config(t)
	s, _ := start(t, c)
	cl := client.Socket(s.Data())
	if _, err := cl.ImportData(t.Context(), "truth", archive(map[string]string{"xy.csv": "1,0,0\n0,1,1\n1,1,1\n1,0,0\n"}), false); err != nil {
		t.Fatal(err)
	}
	j, err := cl.Submit(t.Context(), []byte(logistic), "application/yaml", false)
	if err != nil {
		t.Fatal(err)
	}
	if j = settled(t, cl, j.ID); j.State != job.Succeeded || j.Model == nil {
		t.Fatalf("%s: %s\n%s", j.State, j.Reason, log(t, cl, j.ID))
	}
	if j.Progress == nil || j.Progress.Epoch != 50 || j.Progress.Fraction != 1 {
		t.Errorf("progress %+v", j.Progress)
	}
	points, err := cl.Metrics(t.Context(), j.ID, 0, 0)
	if err != nil || len(points) < 100 {
		t.Errorf("%d points of curves, %v", len(points), err)
	}
	v, err := cl.Version(t.Context(), j.Model.Name, j.Model.Version)
	if err != nil || v.Lineage.Job != int64(j.ID) || len(v.Lineage.Data) != 1 || !strings.HasPrefix(v.Lineage.Data[0], "truth@1 sha256:") {
		t.Errorf("lineage %+v, %v", v.Lineage, err)
	}
	body, err := cl.Export(t.Context(), "logistic", 1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	plain, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	net, err := keras.Read(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := nn.NewPredictor(net, 4)
	if err != nil {
		t.Fatal(err)
	}
	y := make([]float32, 4)
	if err := p.Predict(y, []float32{1, 0, 0, 1, 1, 1, 1, 0}, 4); err != nil || !(y[0] < y[1]) {
		t.Errorf("answers %v, %v", y, err)
	}
	// Nothing plain of data or model lies in the data folder.
	filepath.WalkDir(s.Data(), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for what, mark := range map[string]string{"model": "\x89HDF\r\n", "data": "1,0,0\n0,1,1", "weights": string(plain[len(plain)-64:])} {
			if bytes.Contains(b, []byte(mark)) {
				t.Errorf("%s holds plain bytes of the %s", path, what)
			}
		}
		return nil
	})
}

func TestASecondServerOnTheSameFolderIsRefused(t *testing.T) {
	c := config(t)
	start(t, c)
	_, err := app.Open(t.Context(), c, app.Options{Log: slog.New(slog.DiscardHandler)})
	if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "another server (process ") {
		t.Errorf("%v", err)
	}
}

func TestAPortInUseIsNamedWithTheWayOut(t *testing.T) {
	c := config(t)
	s, _ := start(t, c)
	other := config(t)
	other.Listen = strings.TrimPrefix(s.URL(), "http://")
	_, err := app.Open(t.Context(), other, app.Options{Log: slog.New(slog.DiscardHandler)})
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("%v", err)
	}
	// The folder is free again.
	other.Listen = "127.0.0.1:0"
	start(t, other)
}

func TestAFolderThatOthersMayReadIsRefused(t *testing.T) {
	c := config(t)
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Open(t.Context(), c, app.Options{}); !errs.Is(err, errs.Denied) || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("%v", err)
	}
}
