package train

import (
	"context"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

// The metrics by which Measure judges.
const (
	Accuracy         = "accuracy"
	MeanSquaredError = "mean_squared_error"
)

// Quality is how well a network answers a data set.
type Quality struct {
	Metric string  `json:"metric"` // accuracy where the data has classes, else mean_squared_error
	Value  float64 `json:"value"`
	Rows   int     `json:"rows"`
}

// Measure answers the first rows of d, at most limit, with a network whose weights no longer change. Of cfg it takes how
// inputs are scaled and which loss the network learned by.
func Measure(ctx context.Context, net *nn.Network, d *Dataset, cfg Config, limit int) (Quality, error) {
	const op = "train.Measure"
	cfg = cfg.Defaults()
	if err := fits(net, d); err != nil {
		return Quality{}, err
	}
	q := Quality{Metric: Accuracy, Rows: min(d.Rows, limit)}
	name := cfg.Loss
	if d.Classes == 0 {
		q.Metric, name = MeanSquaredError, "mean_squared_error"
	}
	loss, err := nn.NewLoss(name, cfg.FromLogits)
	if err != nil {
		return Quality{}, errs.E(op, errs.Invalid, err)
	}
	const batch = 64
	p, err := nn.NewPredictor(net, batch)
	if err != nil {
		return Quality{}, err
	}
	out := product(net.OutputShape())
	y, want := make([]float32, batch*out), make([]float32, batch*loss.Width(out))
	for at := 0; at < q.Rows; at += batch {
		if err := ctx.Err(); err != nil {
			return Quality{}, errs.E(op, errs.KindOf(err), err)
		}
		n := min(batch, q.Rows-at)
		if err := p.Predict(y[:n*out], Inputs(d, cfg.Preprocess, at, n), n); err != nil {
			return Quality{}, err
		}
		w := loss.Width(out)
		for i := range n {
			target(want[i*w:(i+1)*w], d, at+i)
		}
		if d.Classes > 0 {
			q.Value += float64(loss.Correct(y[:n*out], want[:n*w], n))
		} else {
			q.Value += loss.Eval(nil, y[:n*out], want[:n*w], n, n, false)
		}
	}
	q.Value /= float64(q.Rows)
	return q, nil
}

// fits says whether a network takes the rows of a data set and answers with as many values as it has classes.
func fits(net *nn.Network, d *Dataset) error {
	if err := d.Validate(); err != nil {
		return err
	}
	const op = "train.Measure"
	if in, have := product(net.Input), product(d.Shape); in != have {
		return errs.Errorf(op, errs.Invalid, "the network takes %d values a row and the data has %d: measure it on the data that it was made for", in, have)
	}
	out := product(net.OutputShape())
	if d.Classes > 0 && out < d.Classes && !(out == 1 && d.Classes == 2) || d.Classes == 0 && out != d.Outputs {
		return errs.Errorf(op, errs.Invalid, "the network answers with %d values and the data has %d: measure it on the data that it was made for", out, max(d.Classes, d.Outputs))
	}
	return nil
}

// Inputs are n rows of d from at on, as a network is asked them.
func Inputs(d *Dataset, p Preprocess, at, n int) []float32 {
	width := product(d.Shape)
	x := make([]float32, n*width)
	scale := p.scale()
	for i := range x {
		x[i] = d.input(at*width+i) / scale
	}
	return x
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
