package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

// order is what a server is started with.
type order struct {
	Addr, Control string
	Models        []string // files of the versions from 1 on
	SLO           time.Duration
	Profile       string
}

// server is a server that was started.
type server struct {
	order
	pid  int
	stop func()
}

// network makes a network of random weights and writes it to a file.
func network(path string, seed uint64, inputs, width int) (*nn.Network, error) {
	net := &nn.Network{Name: "m", Input: []int{inputs}, Layers: []nn.Layer{
		nn.NewDense("dense", width, nn.DenseConfig{Activation: "relu"}),
		nn.NewDense("dense_1", width, nn.DenseConfig{Activation: "relu"}),
		nn.NewDense("dense_2", 10, nn.DenseConfig{Activation: "softmax"}),
	}}
	if err := net.Build(seed); err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := keras.WriteH5(f, &keras.Model{Network: net}); err != nil {
		return nil, err
	}
	return net, f.Close()
}

// start starts a server over the files of models and waits until it answers.
func start(ctx context.Context, c config, dir string, slo time.Duration, models ...string) (*server, error) {
	s := &server{order: order{Models: models, SLO: slo, Profile: c.profile}}
	for _, addr := range []*string{&s.Addr, &s.Control} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*addr = ln.Addr().String()
		ln.Close()
	}
	text, err := json.Marshal(s.order)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "child", string(text)}
	if c.apart {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.pid = cmd.Process.Pid
	s.stop = func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // how does not matter
	}
	for range 600 {
		if _, err = s.control(ctx, "ready"); err == nil {
			return s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	tail, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("the server does not answer: %w\n%s", err, tail)
}

// control asks the server's other port.
func (s *server) control(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Control+"/"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// status is a line of /proc/PID/status in MiB, such as VmRSS.
func (s *server) status(name string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name+":" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

// spent is the time that the server's threads ran, and that they waited for a processor.
func (s *server) spent() (ran, waited time.Duration) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.pid))
	if err != nil {
		return 0, 0
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		if f := strings.Fields(string(text)); len(f) == 3 {
			r, _ := strconv.ParseInt(f[0], 10, 64)
			w, _ := strconv.ParseInt(f[1], 10, 64)
			ran, waited = ran+time.Duration(r), waited+time.Duration(w)
		}
	}
	return ran, waited
}

// child is the server.
func child(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return err
	}
	m := serve.New(serve.Options{Store: files(o.Models), Models: files(o.Models), Runtime: runtime.New(runtime.Options{
		Cores: batch.NewCores(0), Batching: serve.Batching{SLO: job.Duration(o.SLO)},
	})})
	ctx := context.Background()
	if _, err := m.Deploy(ctx, "bench", "m", 1); err != nil {
		return err
	}
	var profile bytes.Buffer
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/deploy", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.URL.Query().Get("version"), 10, 64)
		if _, err := m.Deploy(ctx, "bench", "m", n); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/queue", func(w http.ResponseWriter, _ *http.Request) {
		s, err := m.Get("m")
		if err == nil {
			err = json.NewEncoder(w).Encode(s.Queue)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/profile", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("end") == "" {
			_ = pprof.StartCPUProfile(&profile) // one that runs already is as good
			return
		}
		pprof.StopCPUProfile()
		if err := os.WriteFile(o.Profile, profile.Bytes(), 0o644); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	go func() { _ = http.ListenAndServe(o.Control, mux) }() //nolint:gosec // ends with the process
	h := tfserving.New(tfserving.Options{
		Manager:   m,
		Authorize: func(*http.Request, string, string) (string, error) { return "bench", nil },
	})
	return web.NewServer(h, nil).Serve(web.Listener(ln))
}

// files is a registry of versions, each in a file.
type files []string

func (files) PutService(context.Context, serve.Record, ...event.Event) error { return nil }
func (files) DeleteService(context.Context, string, ...event.Event) error    { return nil }
func (files) Services(context.Context) ([]serve.Record, error)               { return nil, nil }
func (files) Emit(context.Context, ...event.Event) error                     { return nil }

func (f files) Resolve(_ context.Context, name string, version int64, _ string) (model.Version, error) {
	info, err := os.Stat(f[version-1])
	if err != nil {
		return model.Version{}, err
	}
	return model.Version{Model: name, Version: version, Digest: f[version-1], Format: model.KerasH5, Size: info.Size()}, nil
}

func (f files) Model(_ context.Context, name string) (model.Model, error) {
	return model.Model{Name: name}, nil
}

func (f files) Open(_ context.Context, v model.Version) (artifact.ReaderAt, error) {
	return os.Open(v.Digest)
}
