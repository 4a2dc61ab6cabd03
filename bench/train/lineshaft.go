package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/train"
)

// network is examples/mnist/train.yaml.
func network(epochs int, seed uint64, threads int) train.Config {
	return train.Config{
		Preprocess: train.Preprocess{Scale: 255},
		Layers: []nn.LayerSpec{
			{Type: "dense", Units: 512, Activation: "relu"},
			{Type: "dropout", Rate: 0.2},
			{Type: "dense", Units: 512, Activation: "relu"},
			{Type: "dropout", Rate: 0.2},
			{Type: "dense", Units: 10, Activation: "softmax"},
		},
		Optimizer: nn.OptimizerConfig{Type: "adam", LearningRate: 0.001},
		Loss:      "categorical_crossentropy", Metrics: []string{"accuracy"},
		Batch: 128, Epochs: epochs, Seed: seed, Threads: threads,
	}
}

func load(o options) (data, val *train.Dataset, err error) {
	entries, err := os.ReadDir(o.data)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; --data takes the folder of MNIST's four files", err)
	}
	var files []train.File
	for _, e := range entries {
		if !strings.Contains(e.Name(), "ubyte") {
			continue
		}
		f, err := os.Open(filepath.Join(o.data, e.Name()))
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		files = append(files, train.File{Name: e.Name(), Reader: f})
	}
	return train.Load(network(1, 1, 1), train.FormatIDX, files)
}

func cpu() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return float64(r.Utime.Sec+r.Stime.Sec) + float64(r.Utime.Usec+r.Stime.Usec)/1e6
}

// work runs an epoch for each line of in and answers with its figures.
func work(ctx context.Context, o options, in io.Reader, out io.Writer) error {
	data, val, err := load(o)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	var began time.Time
	var used float64
	next := func() error {
		if !lines.Scan() {
			return io.EOF
		}
		began, used = time.Now(), cpu()
		return nil
	}
	if err := next(); err != nil {
		return nil //nolint:nilerr // nothing was asked for
	}
	_, err = train.Run(ctx, network(1_000_000, 1, o.threads), data, val, nil, train.Hooks{Epoch: func(e train.Epoch) error {
		err := json.NewEncoder(out).Encode(epoch{Wall: time.Since(began).Seconds(), CPU: cpu() - used, Accuracy: e.ValAccuracy})
		if err != nil {
			return err
		}
		return next()
	}})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// accuracies trains the whole 20 epochs from each seed.
func accuracies(ctx context.Context, o options, log io.Writer) ([]row, error) {
	var rows []row
	if o.seeds == 0 {
		return nil, nil
	}
	data, val, err := load(o)
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for seed := range o.seeds {
		res, err := train.Run(ctx, network(20, uint64(seed+1), o.threads), data, val, nil, train.Hooks{})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(log, "seed %d: test accuracy %.4f after 20 epochs\n", seed+1, res.Last.ValAccuracy)
		rows = append(rows, figure.Of(fmt.Sprintf("mnist-20-epochs-seed-%d", seed+1), "lineshaft", "test_accuracy", res.Last.ValAccuracy, ""))
		sum += res.Last.ValAccuracy
	}
	mean := figure.Of("mnist-20-epochs", "lineshaft", "test_accuracy", sum/float64(o.seeds), "")
	return append(rows, mean), nil
}
