package main

import (
	"archive/zip"
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
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
	"github.com/lineshaft/lineshaft/nn"
)

// pinned is what pip installs. With a newer uvloop MLServer's parallel workers do not start.
var pinned = []string{"mlserver==1.7.1", "uvloop==0.21.0", "numpy==2.4.6"}

//go:embed mlp.py
var mlp []byte

// setting is one way to run MLServer.
type setting struct {
	workers   int
	batch     int
	batchTime float64
}

// settings are tried for a moment each; the one with the least CPU time a request is measured. Without parallel workers
// a request stays in the process that read it; batching joins requests that wait.
var settings = []setting{{0, 0, 0}, {0, 32, 0.002}, {0, 32, 0.01}, {1, 0, 0}, {1, 32, 0.002}}

func startMLServer(ctx context.Context, c config, w *work) (*system, error) {
	python, err := pyenv.Make(ctx, pinned...)
	if err != nil {
		return nil, err
	}
	if err := writeNPZ(filepath.Join(w.dir, "mlp.npz"), w.net); err != nil {
		return nil, err
	}
	var best setting
	least := 0.0
	for i, o := range settings {
		got, err := o.try(ctx, c, w, python, fmt.Sprintf("mlserver-%d", i))
		if err != nil {
			fmt.Fprintf(os.Stderr, "  mlserver with %+v: %v\n", o, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "  mlserver with %+v: %s\n", o, got)
		if least == 0 || got.cpu < least {
			best, least = o, got.cpu
		}
	}
	if least == 0 {
		return nil, errors.New("it starts with none of its settings")
	}
	return best.start(ctx, w, python, "mlserver")
}

// try measures a setting for a moment: one second warms up, the next three count.
func (o setting) try(ctx context.Context, c config, w *work, python, name string) (result, error) {
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

func (o setting) start(ctx context.Context, w *work, python, name string) (*system, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var ports [3]string
	for i := range ports {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		ports[i] = addr[strings.LastIndex(addr, ":")+1:]
	}
	implementation := map[string]any{"name": "mlp", "implementation": "mlp.MLP", "parameters": map[string]any{"uri": filepath.Join(w.dir, "mlp.npz")}}
	if o.batch > 0 {
		implementation["max_batch_size"], implementation["max_batch_time"] = o.batch, o.batchTime
	}
	server := map[string]any{
		"debug": false, "host": "127.0.0.1", "http_port": json.Number(ports[0]), "grpc_port": json.Number(ports[1]),
		"metrics_port": json.Number(ports[2]), "metrics_endpoint": nil, "parallel_workers": o.workers,
	}
	err := os.WriteFile(filepath.Join(dir, "mlp.py"), mlp, 0o644)
	for file, v := range map[string]any{"settings.json": server, "model-settings.json": implementation} {
		text, e := json.Marshal(v)
		err = errors.Join(err, e, os.WriteFile(filepath.Join(dir, file), text, 0o644))
	}
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(python), "mlserver"), "start", dir)
	cmd.Dir = dir
	// One thread a product: a row is too small to be shared, and threads that wait for each other only cost.
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "PYTHONPATH="+dir)
	stop, log, err := process(ctx, w.dir, name, cmd)
	if err != nil {
		return nil, err
	}
	addr := "127.0.0.1:" + ports[0]
	err = await(ctx, log, func() error {
		resp, err := http.Get("http://" + addr + "/v2/models/mlp/ready")
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
	return &system{name: "mlserver", addr: addr, pid: cmd.Process.Pid, stop: stop, request: infer, answer: inferred}, nil
}

func infer(image string) []byte {
	return post("/v2/models/mlp/infer", "", `{"inputs": [{"name": "x", "shape": [1, 784], "datatype": "FP32", "data": `+image+`}]}`)
}

func inferred(body []byte) ([]float32, error) {
	var v struct{ Outputs []struct{ Data []float32 } }
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	if len(v.Outputs) != 1 {
		return nil, fmt.Errorf("%d outputs", len(v.Outputs))
	}
	return v.Outputs[0].Data, nil
}

// writeNPZ writes the weights as numpy reads them: a zip of .npy files.
func writeNPZ(path string, net *nn.Network) error {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	n := 0
	for _, l := range net.Layers {
		params := l.Params()
		if len(params) != 2 {
			continue
		}
		for i, prefix := range []string{"w", "b"} {
			shape := strings.Trim(strings.ReplaceAll(fmt.Sprint(params[i].Shape), " ", ", "), "[]") + ","
			header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", shape)
			for (10+len(header)+1)%64 != 0 {
				header += " "
			}
			header += "\n"
			f, err := z.Create(fmt.Sprintf("%s%d.npy", prefix, n))
			if err != nil {
				return err
			}
			err = errors.Join(
				binary.Write(f, binary.LittleEndian, []byte("\x93NUMPY\x01\x00")),
				binary.Write(f, binary.LittleEndian, uint16(len(header))),
				binary.Write(f, binary.LittleEndian, []byte(header)),
				binary.Write(f, binary.LittleEndian, params[i].Value))
			if err != nil {
				return err
			}
		}
		n++
	}
	return errors.Join(z.Close(), os.WriteFile(path, b.Bytes(), 0o644))
}
