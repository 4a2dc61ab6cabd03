package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

func predictions(body []byte) ([]float32, error) {
	var v struct{ Predictions [][]float32 }
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	if len(v.Predictions) != 1 {
		return nil, fmt.Errorf("%d rows", len(v.Predictions))
	}
	return v.Predictions[0], nil
}

// startLineshaft starts the product on a new data folder, gives it the model as anyone would, and asks with a token.
func startLineshaft(ctx context.Context, c config, w *work) (*system, error) {
	s, token, err := lineshaft(ctx, c, w, "lineshaft")
	if err != nil {
		return nil, err
	}
	s.answer = predictions
	s.request = func(image string) []byte {
		return post("/v1/models/mnist:predict", "Authorization: Bearer "+token+"\r\n", `{"instances": [`+image+`]}`)
	}
	return s, nil
}

func lineshaft(ctx context.Context, c config, w *work, name string) (s *system, token string, err error) {
	binary := c.binary
	if binary == "" {
		binary = filepath.Join(w.dir, "lineshaft-built")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/lineshaft/lineshaft/cmd/lineshaft")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, "", err
		}
	}
	var addrs [3]string
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddr(); err != nil {
			return nil, "", err
		}
	}
	data := filepath.Join(w.dir, fmt.Sprintf("%s-data-%d", name, c.clients))
	cmd := exec.Command(binary, "up", "--data", data, "--listen", addrs[0], "--serve-listen", addrs[1], "--serve-grpc-listen", addrs[2])
	stop, log, err := process(ctx, w.dir, name, cmd)
	if err != nil {
		return nil, "", err
	}
	s = &system{name: name, addr: addrs[1], grpc: addrs[2], pid: cmd.Process.Pid, stop: stop}
	if token, err = s.introduce(ctx, binary, data, log, w); err != nil {
		stop()
		return nil, "", err
	}
	return s, token, nil
}

// introduce waits for the server, makes tokens and uploads the model.
func (s *system) introduce(ctx context.Context, binary, data, log string, w *work) (token string, err error) {
	create := func(role string) (string, error) {
		out, err := exec.CommandContext(ctx, binary, "tokens", "create", "--data", data, "--role", role, "-o", "json").Output()
		if err != nil {
			return "", err
		}
		var t struct{ Token string }
		return t.Token, json.Unmarshal(out, &t)
	}
	var developer string
	err = await(ctx, log, func() (err error) {
		developer, err = create("developer")
		return err
	})
	if err != nil {
		return "", err
	}
	if err := upload("http://"+s.addr+"/v1/models/mnist:load", developer, w.model); err != nil {
		return "", err
	}
	return create("service")
}

// upload sends the model as curl -F does.
func upload(url, token, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", filepath.Base(path))
	if err != nil {
		return err
	}
	if _, err := part.Write(content); err != nil {
		return err
	}
	if err := form.Close(); err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, url, &b)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

// again starts this program as one of the children below.
func again(ctx context.Context, w *work, name string, args ...string) (*system, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"child-" + name, addr}, args...)...)
	stop, log, err := process(ctx, w.dir, name, cmd)
	if err != nil {
		return nil, err
	}
	s := &system{name: name, addr: addr, pid: cmd.Process.Pid, stop: stop}
	s.request = func(image string) []byte {
		return post("/v1/models/mnist:predict", "", `{"instances": [`+image+`]}`)
	}
	err = await(ctx, log, func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	if err != nil {
		stop()
		return nil, err
	}
	return s, nil
}

func startEcho(ctx context.Context, _ config, w *work) (*system, error) { return again(ctx, w, "echo") }

func startHandler(ctx context.Context, c config, w *work) (*system, error) {
	s, err := again(ctx, w, "handler", w.model, c.profile)
	if err == nil {
		s.answer = predictions
	}
	return s, err
}

// child is the other end of again: args are the address and what the child needs.
func child(name string, args []string) error {
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	if name == "child-echo" {
		return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			_, _ = w.Write(body) // the client may be gone
		}))
	}
	if name == "child-echo-grpc" {
		return serveEchoGRPC(ln)
	}
	m := serve.New(serve.Options{Store: file(args[1]), Models: file(args[1]), Runtime: runtime.New(runtime.Options{})})
	if _, err := m.Deploy(context.Background(), "bench", "mnist", 1); err != nil {
		return err
	}
	if profile := args[2]; profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		time.AfterFunc(10*time.Second, pprof.StopCPUProfile)
	}
	switch name {
	case "child-handler-grpc":
		return serveHandlerGRPC(ln, m)
	case "child-handler-kserve":
		return serveHandlerBinary(ln, m)
	case "child-handler-kserve-grpc":
		return serveHandlerRaw(ln, m)
	}
	h := tfserving.New(tfserving.Options{
		Manager:   m,
		Authorize: func(*http.Request, string, string) (string, error) { return "bench", nil },
	})
	return web.NewServer(h, nil).Serve(web.Listener(ln))
}

// file is a registry of one version, in a file.
type file string

func (file) PutService(context.Context, serve.Record, ...event.Event) error { return nil }
func (file) DeleteService(context.Context, string, ...event.Event) error    { return nil }
func (file) Services(context.Context) ([]serve.Record, error)               { return nil, nil }
func (file) Emit(context.Context, ...event.Event) error                     { return nil }

func (f file) Resolve(_ context.Context, name string, _ int64, _ string) (model.Version, error) {
	info, err := os.Stat(string(f))
	if err != nil {
		return model.Version{}, err
	}
	return model.Version{Model: name, Version: 1, Format: model.KerasH5, Size: info.Size()}, nil
}

func (f file) Model(_ context.Context, name string) (model.Model, error) {
	return model.Model{Name: name}, nil
}

func (f file) Open(context.Context, model.Version) (artifact.ReaderAt, error) {
	return os.Open(string(f))
}
