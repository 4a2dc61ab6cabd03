package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/pyenv"
)

//go:embed bento.py
var bento []byte

// bentoSetting is one way to run BentoML.
type bentoSetting struct {
	workers, batch int
	latency        int // ms: what a request may wait for others
}

var bentoSettings = []bentoSetting{{1, 0, 0}, {1, 32, 1000}, {1, 32, 60000}, {2, 0, 0}}

func startBentoML(ctx context.Context, c config, w *work) (*system, error) {
	python, err := pyenv.Make(ctx, "bentoml==1.4.39", "numpy==2.4.6")
	if err != nil {
		return nil, err
	}
	if err := writeNPZ(filepath.Join(w.dir, "mlp.npz"), w.net); err != nil {
		return nil, err
	}
	var best bentoSetting
	least := 0.0
	for i, o := range bentoSettings {
		got, err := o.try(ctx, c, w, python, fmt.Sprintf("bentoml-%d", i))
		if err != nil {
			fmt.Fprintf(os.Stderr, "  bentoml with %+v: %v\n", o, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "  bentoml with %+v: %s\n", o, got)
		if least == 0 || got.cpu < least {
			best, least = o, got.cpu
		}
	}
	if least == 0 {
		return nil, errors.New("it starts with none of its settings")
	}
	return best.start(ctx, w, python, "bentoml")
}

func (o bentoSetting) try(ctx context.Context, c config, w *work, python, name string) (result, error) {
	s, err := o.start(ctx, w, python, name)
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	if _, err := load(ctx, s, w, c.clients, time.Second); err != nil {
		return result{}, err
	}
	return load(ctx, s, w, c.clients, 3*time.Second)
}

func (o bentoSetting) start(ctx context.Context, w *work, python, name string) (*system, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "bento.py"), bento, 0o644); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(python), "bentoml"), "serve", "bento:MLP", "--host", "127.0.0.1", "--port", addr[strings.LastIndex(addr, ":")+1:])
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "PYTHONPATH="+dir, "BENTOML_HOME="+filepath.Join(dir, "home"),
		"BENTOML_DO_NOT_TRACK=1", "BENTOML_CONFIG_OPTIONS=api_server.logging.access.enabled=false", "PATH="+filepath.Dir(python)+":"+os.Getenv("PATH"),
		fmt.Sprintf("BENCH_BATCH=%d", o.batch), fmt.Sprintf("BENCH_LATENCY=%d", o.latency), fmt.Sprintf("BENCH_WORKERS=%d", o.workers),
		"BENCH_WEIGHTS="+filepath.Join(w.dir, "mlp.npz"))
	stop, log, err := process(ctx, w.dir, name, cmd)
	if err != nil {
		return nil, err
	}
	err = await(ctx, log, func() error {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	if err != nil {
		stop()
		return nil, err
	}
	return &system{name: "bentoml", addr: addr, pid: cmd.Process.Pid, stop: stop, answer: firstRow, request: func(image string) []byte {
		return post("/predict", "", `{"x": [`+image+`]}`)
	}}, nil
}

func firstRow(body []byte) ([]float32, error) {
	var v [][]float32
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	if len(v) != 1 {
		return nil, fmt.Errorf("%d rows", len(v))
	}
	return v[0], nil
}
