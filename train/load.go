package train

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// maxData bounds the plain bytes of one file of a data set.
const maxData = 4 << 30

// Formats that Load takes. FormatAuto goes by the files' names.
const (
	FormatAuto = ""
	FormatIDX  = "idx" // the four files of MNIST, or of a set with the same names
	FormatCSV  = "csv"
)

// File is one file of a data set: its name and its plain bytes, gzipped or not. Load reads it once.
type File struct {
	Name   string
	Reader io.Reader
}

// Validation says what a run is measured on after each epoch. With neither field set it is the set's own test part:
// t10k-* of MNIST's files; a CSV set has none.
type Validation struct {
	Split float64 `json:"split,omitempty" yaml:"split,omitempty"` // share of the training rows, drawn by the seed
	File  string  `json:"file,omitempty" yaml:"file,omitempty"`   // a CSV file of the set
}

// Load makes a run's data from the files of a data set. val is nil where the set has no validation part and the
// configuration asks for none. format may be "files" too, which is FormatAuto.
func Load(cfg Config, format string, files []File) (data, val *Dataset, err error) {
	const op = "train.Load"
	if err := cfg.Validation.validate(); err != nil {
		return nil, nil, errs.E(op, errs.Invalid, err)
	}
	byName := map[string]File{}
	var names []string
	for _, f := range files {
		byName[path.Base(f.Name)] = f
		names = append(names, path.Base(f.Name))
	}
	slices.Sort(names)
	if format == FormatAuto || format == "files" {
		format = guess(names)
	}
	switch format {
	case FormatIDX:
		data, val, err = loadIDX(cfg, byName, names)
	case FormatCSV:
		data, val, err = loadCSV(cfg, byName, names)
	default:
		return nil, nil, errs.Errorf(op, errs.Invalid, "the trainer finds neither MNIST's files (train-images-idx3-ubyte, …) nor a .csv file in the data set; it has %v", names)
	}
	if err != nil {
		return nil, nil, err
	}
	if cfg.Validation.Split > 0 {
		data, val, err = data.split(cfg.Validation.Split, cfg.Seed)
	}
	return data, val, err
}

func (v Validation) validate() error {
	switch {
	case !(v.Split >= 0 && v.Split < 1):
		return fmt.Errorf("train: validation.split is %v: it must be from 0 to below 1", v.Split)
	case v.Split > 0 && v.File != "":
		return fmt.Errorf("train: validation takes split or file, not both")
	}
	return nil
}

func guess(names []string) string {
	for _, n := range names {
		if strings.HasPrefix(n, "train-images") {
			return FormatIDX
		}
	}
	for _, n := range names {
		if isCSV(n) {
			return FormatCSV
		}
	}
	return ""
}

func isCSV(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(strings.ToLower(name), ".gz"), ".csv")
}

// loadIDX takes train-images*, train-labels*, and, where they are there, t10k-images* and t10k-labels*.
func loadIDX(cfg Config, files map[string]File, names []string) (data, val *Dataset, err error) {
	const op = "train.Load"
	if cfg.Validation.File != "" {
		return nil, nil, errs.Errorf(op, errs.Invalid, "train: validation.file is for CSV sets; IDX sets are measured on their t10k files, or on a split")
	}
	find := func(prefix string) (File, bool) {
		for _, n := range names {
			if strings.HasPrefix(n, prefix) {
				return files[n], true
			}
		}
		return File{}, false
	}
	part := func(prefix string) (*Dataset, error) {
		images, ok := find(prefix + "-images")
		if !ok {
			return nil, errs.Errorf(op, errs.Invalid, "the data set has no file %s-images-idx3-ubyte; it has %v", prefix, names)
		}
		labels, ok := find(prefix + "-labels")
		if !ok {
			return nil, errs.Errorf(op, errs.Invalid, "the data set has no file %s-labels-idx1-ubyte; it has %v", prefix, names)
		}
		return readPair(images, labels)
	}
	if data, err = part("train"); err != nil {
		return nil, nil, err
	}
	if _, ok := find("t10k-"); !ok || cfg.Validation.Split > 0 {
		return data, nil, nil
	}
	if val, err = part("t10k"); err != nil {
		return nil, nil, err
	}
	if !slices.Equal(val.Shape, data.Shape) {
		return nil, nil, errs.Errorf(op, errs.Invalid, "the t10k images have %v values each and the train images %v", val.Shape, data.Shape)
	}
	data.Classes = max(data.Classes, val.Classes)
	val.Classes = data.Classes
	return data, val, nil
}

func readPair(images, labels File) (*Dataset, error) {
	const op = "train.Load"
	dims, pixels, err := ReadIDX(images.Reader, maxData)
	if err != nil {
		return nil, errs.E(op, errs.Other, fmt.Errorf("%s: %w", images.Name, err))
	}
	rows, classes, err := ReadIDX(labels.Reader, maxData)
	if err != nil {
		return nil, errs.E(op, errs.Other, fmt.Errorf("%s: %w", labels.Name, err))
	}
	if len(rows) != 1 || rows[0] != dims[0] {
		return nil, errs.Errorf(op, errs.Invalid, "%s holds %d images and %s labels of dimensions %v: there must be one label an image", images.Name, dims[0], labels.Name, rows)
	}
	return FromMNIST(pixels, classes, dims)
}

// split takes a share of the rows, drawn by seed, out of d. Both parts keep the order of the rows.
func (d *Dataset) split(share float64, seed uint64) (data, val *Dataset, err error) {
	n := int(share*float64(d.Rows) + 0.5)
	if n < 1 || n >= d.Rows {
		return nil, nil, errs.Errorf("train.Load", errs.Invalid, "train: validation.split %v of %d rows leaves %d for validation and %d for training: each needs at least one", share, d.Rows, n, d.Rows-n)
	}
	order := rand.New(rand.NewPCG(seed, 0x76616c696461)).Perm(d.Rows)
	slices.Sort(order[:n])
	slices.Sort(order[n:])
	return d.pick(order[n:]), d.pick(order[:n]), nil
}

func (d *Dataset) pick(rows []int) *Dataset {
	p := &Dataset{Rows: len(rows), Shape: d.Shape, Classes: d.Classes, ClassNames: d.ClassNames, Outputs: d.Outputs}
	w := (len(d.Bytes) + len(d.Floats)) / d.Rows
	for _, r := range rows {
		if d.Floats != nil {
			p.Floats = append(p.Floats, d.Floats[r*w:(r+1)*w]...)
		} else {
			p.Bytes = append(p.Bytes, d.Bytes[r*w:(r+1)*w]...)
		}
		if d.Classes > 0 {
			p.Labels = append(p.Labels, d.Labels[r])
		} else {
			p.Values = append(p.Values, d.Values[r*d.Outputs:(r+1)*d.Outputs]...)
		}
	}
	return p
}
