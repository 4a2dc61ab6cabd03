package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/pyenv"
)

//go:embed epoch_keras.py
var kerasScript string

//go:embed epoch_torch.py
var torchScript string

// epoch is what a system answers after a turn.
type epoch struct {
	Wall     float64 `json:"wall"`
	CPU      float64 `json:"cpu"`
	Accuracy float64 `json:"accuracy"`
}

// system is a process that trains an epoch whenever it gets a line.
type system struct {
	name, way string
	epochs    []epoch

	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors *strings.Builder
}

// kerasWays are those that were best among numpy and tf.data, with and without XLA, with 1, 32 and 469 steps an
// execution.
func kerasWays() []string { return []string{"numpy,yes,32", "tfdata,yes,469", "numpy,no,469"} }

// start starts every system; none has anything to do before its first turn.
func start(ctx context.Context, o options, log io.Writer) ([]*system, error) {
	threads := strconv.Itoa(o.threads)
	own, err := launch(ctx, "lineshaft", "built in", os.Args[0], "--worker", "--data", o.data, "--threads", threads)
	if err != nil {
		return nil, err
	}
	all := []*system{own}
	for _, peer := range o.peers {
		var packages, ways []string
		var script string
		switch peer {
		case "keras":
			packages, ways, script = pyenv.Keras(), kerasWays(), kerasScript
		case "torch":
			packages, ways, script = pyenv.Torch(), []string{"eager"}, torchScript
		default:
			return all, fmt.Errorf("--peers %q is not known; there are keras and torch", peer)
		}
		fmt.Fprintf(log, "%s: making a Python environment with %s, if there is none\n", peer, strings.Join(packages, " "))
		python, err := pyenv.Make(ctx, packages...)
		if err != nil {
			return all, err
		}
		for _, way := range ways {
			s, err := launch(ctx, peer, way, python, "-c", script, o.data, way, threads)
			if err != nil {
				return all, err
			}
			all = append(all, s)
		}
	}
	return all, nil
}

func launch(ctx context.Context, name, way string, argv ...string) (*system, error) {
	s := &system{name: name, way: way, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), errors: &strings.Builder{}}
	s.cmd.Env = append(os.Environ(), "TF_CPP_MIN_LOG_LEVEL=3", "OMP_WAIT_POLICY=PASSIVE", "CUDA_VISIBLE_DEVICES=", "KERAS_BACKEND=tensorflow")
	s.cmd.Stderr = s.errors
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	return s, s.cmd.Start()
}

// turn lets the system train one epoch.
func (s *system) turn() (epoch, error) {
	var e epoch
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return e, s.failed(err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return e, s.failed(err)
	}
	return e, json.Unmarshal([]byte(line), &e)
}

func (s *system) failed(err error) error {
	s.close()
	text := s.errors.String()
	return fmt.Errorf("%s (%s): %w\n%s", s.name, s.way, err, text[max(0, len(text)-3000):])
}

// close ends the process: it sees the end of its input.
func (s *system) close() {
	s.in.Close()
	s.cmd.Wait() // it was asked to end; how it does is no figure
}
