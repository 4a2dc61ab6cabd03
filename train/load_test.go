package train_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/train"
)

func file(name, content string) train.File {
	return train.File{Name: name, Reader: strings.NewReader(content)}
}

func mnist(names ...string) []train.File {
	var files []train.File
	for _, n := range names {
		b := idx([]int{3}, []byte{0, 1, 9})
		if strings.Contains(n, "images") {
			b = idx([]int{3, 2, 2}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255})
		}
		if strings.HasSuffix(n, ".gz") {
			b = zipped(b)
		}
		files = append(files, train.File{Name: n, Reader: bytes.NewReader(b)})
	}
	return files
}

func TestMNISTsFourFilesLoadInAnyOrderPlainOrGzipped(t *testing.T) {
	files := mnist("t10k-labels-idx1-ubyte", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte", "README")
	data, val, err := train.Load(config(), "files", files)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*train.Dataset{data, val} {
		if d.Rows != 3 || !slices.Equal(d.Shape, []int{4}) || d.Classes != 10 || d.Bytes[11] != 255 || d.Labels[2] != 9 {
			t.Errorf("got %+v", d)
		}
	}
}

func TestAMissingMNISTFileIsNamed(t *testing.T) {
	_, _, err := train.Load(config(), train.FormatIDX, mnist("train-images-idx3-ubyte"))
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "train-labels") {
		t.Errorf("got %v", err)
	}
	_, _, err = train.Load(config(), train.FormatIDX, mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"))
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "t10k-images") {
		t.Errorf("got %v", err)
	}
	_, _, err = train.Load(config(), "", []train.File{file("a.txt", "")})
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "a.txt") {
		t.Errorf("got %v", err)
	}
}

func TestACSVFileLoadsWithOrWithoutAHeader(t *testing.T) {
	regression := train.Config{Loss: "mse"}
	for name, c := range map[string]struct {
		cfg  train.Config
		text string
	}{
		"no header":              {regression, "1,2,3\n4,5,6\n"},
		"header":                 {regression, "a,b,y\r\n1,2,3\r\n4,5,6\r\n"},
		"byte order mark":        {regression, "\ufeffa,b,y\n1,2,3\n4,5,6\n"},
		"target in front":        {train.Config{Loss: "mse", Target: []string{"y"}}, "y,a,b\n3,1,2\n6,4,5\n"},
		"numbers in the header":  {train.Config{Loss: "mse", Target: []string{"y"}}, "y,1,2\n3,1,2\n6,4,5\n"},
		"a header that is told":  {train.Config{Loss: "mse", Header: new(true)}, "1,2,y\n1,2,3\n4,5,6\n"},
		"quoted and with spaces": {regression, "a, \"b\",y\n"[:0] + "\"1\", 2,3\n4,5, 6\n"},
	} {
		data, val, err := train.Load(c.cfg, "", []train.File{file("data.csv", c.text)})
		if err != nil || val != nil {
			t.Errorf("%s: %v %v", name, val, err)
			continue
		}
		if data.Rows != 2 || !slices.Equal(data.Floats, []float32{1, 2, 4, 5}) || !slices.Equal(data.Values, []float32{3, 6}) || data.Outputs != 1 {
			t.Errorf("%s: got %+v", name, data)
		}
	}
}

func TestClassesOfACSVFileAreNumbersOrWords(t *testing.T) {
	numbers, _, err := train.Load(train.Config{}, "", []train.File{file("data.csv", "1,0\n2,3\n")})
	if err != nil || numbers.Classes != 4 || !slices.Equal(numbers.Labels, []byte{0, 3}) {
		t.Errorf("got %+v, %v", numbers, err)
	}
	cfg := train.Config{Validation: train.Validation{File: "test.csv"}}
	words, val, err := train.Load(cfg, "", []train.File{file("test.csv", "9,cat\n"), file("data.csv", "1,dog\n2,cat\n3,dog\n")})
	if err != nil || words.Classes != 2 || !slices.Equal(words.Labels, []byte{1, 0, 1}) || !slices.Equal(words.ClassNames, []string{"cat", "dog"}) {
		t.Fatalf("got %+v, %v", words, err)
	}
	if !slices.Equal(val.Labels, []byte{0}) || val.Classes != 2 {
		t.Errorf("got %+v", val)
	}
	values, _, err := train.Load(train.Config{Target: []string{"a", "b"}}, "", []train.File{file("data.csv", "x,a,b\n1,0,1\n2,1,0\n")})
	if err != nil || values.Outputs != 2 || !slices.Equal(values.Values, []float32{0, 1, 1, 0}) {
		t.Errorf("got %+v, %v", values, err)
	}
}

func TestMistakesInACSVFileAreToldWithTheirPlace(t *testing.T) {
	mse := train.Config{Loss: "mse"}
	for _, c := range []struct {
		cfg        train.Config
		text, want string
	}{
		{mse, "a,b,y\n1,2,3\n1,x,3\n", `line 3, column "b": "x" is not a finite number`},
		{mse, "1,2,3\n1,NaN,3\n", `line 2, column 2: "NaN" is not a finite number`},
		{mse, "1,2,3\n1,1e99,3\n", `line 2, column 2: "1e99" is not`},
		{mse, "1,2,3\n1,,3\n", "line 2, column 2: it is empty"},
		{mse, "1,2,3\n1,2\n", "line 2: another number of columns"},
		{mse, "1,2,3\n1,\"2,3\n", "line 2"},
		{mse, "1,2,\n", "line 1, column 3: it is empty"},
		{mse, "", "has no rows"},
		{mse, "a,b,y\n", "has no rows"},
		{mse, "1\n2\n", "it needs an input and a target"},
		{mse, "a,a,y\n1,2,3\n", `two columns are named "a"`},
		{train.Config{Target: []string{"z"}}, "a,b,y\n1,2,3\n", `no column "z"`},
		{train.Config{Target: []string{"y"}}, "1,2,3\n", "no header line"},
		{train.Config{Target: []string{"a", "y"}}, "a,y\n1,2\n", "nothing is left for the inputs"},
		{train.Config{}, "1,2,300\n", "class \"300\" is not a whole number"},
		{train.Config{}, "1,2,-1\n", "class \"-1\" is not a whole number"},
	} {
		_, _, err := train.Load(c.cfg, "", []train.File{file("data.csv", c.text)})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "data.csv") && c.want != "nothing is left" {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
	for want, cfg := range map[string]train.Config{
		"not a CSV file": {Validation: train.Validation{File: "x.csv"}},
		"not both":       {Validation: train.Validation{File: "x.csv", Split: 0.1}},
		"below 1":        {Validation: train.Validation{Split: 1}},
		"needs at least": {Validation: train.Validation{Split: 0.1}},
	} {
		_, _, err := train.Load(cfg, "", []train.File{file("data.csv", "1,0\n2,1\n")})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %s", cfg.Validation, err, want)
		}
	}
}

func TestASplitIsDrawnByTheSeedAndLosesNothing(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "%d,%d\n", i, 2*i)
	}
	load := func(seed uint64) (data, val *train.Dataset) {
		cfg := train.Config{Loss: "mse", Seed: seed, Validation: train.Validation{Split: 0.2}}
		data, val, err := train.Load(cfg, "", []train.File{file("data.csv", text.String())})
		if err != nil {
			t.Fatal(err)
		}
		return data, val
	}
	data, val := load(1)
	all := slices.Sorted(slices.Values(slices.Concat(data.Floats, val.Floats)))
	if val.Rows != 20 || len(all) != 100 || all[0] != 0 || all[99] != 99 || val.Values[3] != 2*val.Floats[3] {
		t.Errorf("got %+v and %+v", data, val)
	}
	if _, again := load(1); !slices.Equal(again.Floats, val.Floats) {
		t.Error("the same seed drew another part")
	}
	if _, other := load(2); slices.Equal(other.Floats, val.Floats) {
		t.Error("another seed drew the same part")
	}
}

func parse(t *testing.T, path string) train.Config {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := job.Parse(text, manifest.Section{Path: "train", Type: train.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	var cfg train.Config
	if err := manifest.Decode(spec.Train, &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestTheExampleOfLogisticRegressionAnswersAllItsFourRows(t *testing.T) {
	cfg := parse(t, "../examples/logistic/train.yaml")
	text, err := os.ReadFile("../examples/logistic/data.csv")
	if err != nil {
		t.Fatal(err)
	}
	data, val, err := train.Load(cfg, "files", []train.File{file("data.csv", string(text)), file("train.yaml", "")})
	if err != nil || val != nil || data.Rows != 4 {
		t.Fatalf("got %+v, %v", data, err)
	}
	first := train.Epoch{}
	res, err := train.Run(t.Context(), cfg, data, nil, nil, train.Hooks{Epoch: func(e train.Epoch) error {
		if e.Epoch == 1 {
			first = e
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	// At θ = 0 every probability is one half: the loss is ln 2 and, with one half counted as 0, two rows are right.
	if math.Abs(first.Loss-math.Ln2) > 1e-6 || first.Accuracy != 0.5 || !res.Last.HasMetric || res.Last.Accuracy != 1 || res.Last.Epoch != 1000 {
		t.Errorf("from %+v to %+v", first, res.Last)
	}
	// The same descent in float64.
	w, b := [2]float64{}, 0.0
	for range 1000 {
		var gw [2]float64
		gb := 0.0
		for i, y := range data.Values {
			x := [2]float64{float64(data.Floats[2*i]), float64(data.Floats[2*i+1])}
			e := (1/(1+math.Exp(-w[0]*x[0]-w[1]*x[1]-b)) - float64(y)) / 4
			gw[0], gw[1], gb = gw[0]+e*x[0], gw[1]+e*x[1], gb+e
		}
		w[0], w[1], b = w[0]-0.01*gw[0], w[1]-0.01*gw[1], b-0.01*gb
	}
	for i, want := range []float64{w[0], w[1], b} {
		if got := weights(res.Net)[i]; math.Abs(float64(got)-want) > 1e-4 {
			t.Errorf("weight %d is %v, want %v", i, got, want)
		}
	}
}

func TestTheExampleOfMNISTIsValid(t *testing.T) {
	cfg := parse(t, "../examples/mnist/train.yaml")
	if err := cfg.Validate(); err != nil || cfg.Epochs != 20 || cfg.Batch != 128 || len(cfg.Layers) != 5 {
		t.Errorf("got %+v, %v", cfg, err)
	}
}

// exported sends a result through a Keras file, as the registry does.
func exported(t *testing.T, res *train.Result) *nn.Predictor {
	t.Helper()
	var b bytes.Buffer
	if err := keras.WriteH5(&b, res.Model()); err != nil {
		t.Fatal(err)
	}
	n, err := keras.Read(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	p, err := nn.NewPredictor(n, 8)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnExportedNetworkTakesInputsDividedByScale(t *testing.T) {
	d := digits(500, 1)
	res, err := train.Run(t.Context(), config(), d, nil, nil, train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	p, right := exported(t, res), 0
	for r := range d.Rows {
		x, y := make([]float32, 16), make([]float32, 4)
		for j := range x {
			x[j] = float32(d.Bytes[16*r+j]) / 255
		}
		if err := p.Predict(y, x, 1); err != nil {
			t.Fatal(err)
		}
		if y[d.Labels[r]] == slices.Max(y) {
			right++
		}
	}
	if right < 480 {
		t.Errorf("%d of 500 right", right)
	}
}

func TestAnExportedNetworkTakesInputsAsTheyAreWhereTheyWereStandardisedOrNormalised(t *testing.T) {
	d := &train.Dataset{Rows: 4, Shape: []int{2}, Floats: []float32{1000, 7, 2000, 7, 3000, 7, 4000, 7}, Values: []float32{1, 2, 3, 4}, Outputs: 1}
	for _, p := range []train.Preprocess{{Standardise: true}, {Normalise: true}, {Scale: 10, Standardise: true}} {
		cfg := train.Config{
			Preprocess: p, Layers: []nn.LayerSpec{{Type: "dense", Units: 1}},
			Optimizer: nn.OptimizerConfig{Type: "sgd", LearningRate: 0.3}, Loss: "mse", Epochs: 400, Batch: 4,
		}
		res, err := train.Run(t.Context(), cfg, d, nil, nil, train.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		scale := float32(max(p.Scale, 1))
		y := make([]float32, 1)
		if err := exported(t, res).Predict(y, []float32{2500 / scale, 7 / scale}, 1); err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(y[0])-2.5) > 0.01 {
			t.Errorf("%+v: answers %v for 2.5", p, y[0])
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b,y\n1,2,3\n", "1,2,cat\n3,4,dog\n", "\ufeff\"a\",b\n1,2\n", "1,\"2\n", "x\n", "1,2\r\n\r\n3,4", "0,1\n0,255\n"} {
		f.Add([]byte(s), "y", true)
		f.Add(zipped([]byte(s)), "", false)
	}
	f.Fuzz(func(t *testing.T, b []byte, target string, classes bool) {
		cfg := train.Config{Loss: "mse"}
		if classes {
			cfg.Loss = ""
		}
		if target != "" {
			cfg.Target = strings.Split(target, ",")
		}
		data, _, err := train.Load(cfg, train.FormatCSV, []train.File{{Name: "data.csv", Reader: bytes.NewReader(b)}})
		if err != nil {
			if !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.TooLarge) {
				t.Fatalf("an error of kind %v: %v", errs.KindOf(err), err)
			}
			return
		}
		if err := data.Validate(); err != nil {
			t.Fatal(err)
		}
		if data.Rows > len(b)*1100 {
			t.Fatalf("%d rows of %d bytes", data.Rows, len(b))
		}
	})
}

func TestAnExportedNetworkKeepsHowItWasCompiled(t *testing.T) {
	cfg := config()
	cfg.Epochs, cfg.Loss, cfg.FromLogits, cfg.Metrics = 1, "sparse_categorical_crossentropy", true, nil
	cfg.Layers = []nn.LayerSpec{{Type: "dense", Units: 4}}
	res, err := train.Run(t.Context(), cfg, digits(64, 1), nil, nil, train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	m := res.Model()
	if m.Loss != cfg.Loss || !m.FromLogits || len(m.Metrics) != 0 {
		t.Errorf("compiled with loss %q, from_logits %v, metrics %v", m.Loss, m.FromLogits, m.Metrics)
	}
}
