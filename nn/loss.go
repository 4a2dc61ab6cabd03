package nn

import (
	"fmt"
	"math"
)

// Loss compares answers with what they should be.
type Loss struct {
	Name       string
	FromLogits bool
	Sparse     bool // targets are one class number a row instead of one value an output
	fn         func(dy, y, target []float32) float64
	fuses      string // the activation whose derivative cancels out
}

// Losses lists the names that NewLoss takes.
func Losses() []string {
	return []string{"mean_squared_error", "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"}
}

// keep is Keras's epsilon: probabilities stay that far from 0 and 1 before the logarithm.
const keep = 1e-7

// NewLoss finds a loss by Keras's name ("mse" too). Its value is the mean over rows.
func NewLoss(name string, fromLogits bool) (*Loss, error) {
	l := &Loss{Name: name, FromLogits: fromLogits}
	switch name {
	case "mse", "mean_squared_error":
		l.Name, l.fn = "mean_squared_error", squared
	case "binary_crossentropy":
		l.fn, l.fuses = binary(fromLogits), "sigmoid"
	case "categorical_crossentropy":
		l.fn, l.fuses = categorical(fromLogits), "softmax"
	case "sparse_categorical_crossentropy":
		l.fn, l.fuses, l.Sparse = sparse(fromLogits), "softmax", true
	default:
		return nil, fmt.Errorf("loss %q is not known; there are %v", name, Losses())
	}
	return l, nil
}

// Width is how many target values a row has for that many outputs.
func (l *Loss) Width(outputs int) int {
	if l.Sparse {
		return 1
	}
	return outputs
}

// Eval adds up the loss of rows rows; where dy is not nil it gets the gradient of the sum divided by n. fused says that
// y comes from the activation that the loss fuses with, and that the gradient is wanted before it.
func (l *Loss) Eval(dy, y, target []float32, rows, n int, fused bool) float64 {
	out := len(y) / max(rows, 1)
	width := l.Width(out)
	sum := 0.0
	scale := float32(1) / float32(n)
	for r := range rows {
		yr, tr := y[r*out:(r+1)*out], target[r*width:(r+1)*width]
		var dr []float32
		if dy != nil {
			dr = dy[r*out : (r+1)*out]
		}
		switch {
		case !fused:
			sum += l.fn(dr, yr, tr)
			continue
		case l.fuses != "softmax":
			sum += l.fn(nil, yr, tr)
		case l.Sparse:
			sum -= math.Log(math.Max(float64(yr[int(tr[0])]), math.SmallestNonzeroFloat32))
		default:
			sum += crossSoftmax(yr, tr)
		}
		if dr != nil {
			l.difference(dr, yr, tr)
		}
	}
	for i := range dy {
		dy[i] *= scale
	}
	return sum
}

// difference is y - t: the gradient of cross-entropy before softmax, and before sigmoid once divided by the outputs.
func (l *Loss) difference(d, y, t []float32) {
	if l.Sparse {
		copy(d, y)
		d[int(t[0])]--
		return
	}
	scale := float32(1)
	if l.fuses == "sigmoid" {
		scale = 1 / float32(len(y))
	}
	for i := range d {
		d[i] = (y[i] - t[i]) * scale
	}
}

func squared(d, y, t []float32) float64 {
	sum, n := 0.0, float64(len(y))
	for i := range y {
		e := float64(y[i]) - float64(t[i])
		sum += e * e
		if d != nil {
			d[i] = float32(2 * e / n)
		}
	}
	return sum / n
}

func binary(logits bool) func(d, y, t []float32) float64 {
	return func(d, y, t []float32) float64 {
		sum, n := 0.0, float64(len(y))
		for i := range y {
			v, want := float64(y[i]), float64(t[i])
			if logits {
				sum += math.Max(v, 0) - v*want + math.Log1p(math.Exp(-math.Abs(v)))
				if d != nil {
					d[i] = float32((sigmoid(v) - want) / n)
				}
				continue
			}
			p := clamp(v, keep, 1-keep)
			sum -= want*math.Log(p) + (1-want)*math.Log(1-p)
			switch {
			case d == nil:
			case p != v: // what is cut off has no slope
				d[i] = 0
			default:
				d[i] = float32((p - want) / (p * (1 - p)) / n)
			}
		}
		return sum / n
	}
}

func categorical(logits bool) func(d, y, t []float32) float64 {
	if logits {
		return crossLogits
	}
	return crossProbabilities
}

func crossLogits(d, y, t []float32) float64 {
	p := make([]float32, len(y))
	logSoftmax(p, y)
	loss, total := 0.0, 0.0
	for i := range y {
		if t[i] != 0 {
			loss -= float64(t[i]) * float64(p[i])
		}
		total += float64(t[i])
	}
	for i := range d {
		d[i] = float32(math.Exp(float64(p[i]))*total) - t[i]
	}
	return loss
}

// crossProbabilities divides the row by its sum first, as Keras does.
func crossProbabilities(d, y, t []float32) float64 {
	sum, slope, loss := 0.0, 0.0, 0.0
	for _, v := range y {
		sum += float64(v)
	}
	for i, v := range y {
		q := float64(v) / sum
		p := clamp(q, keep, 1-keep)
		if t[i] != 0 {
			loss -= float64(t[i]) * math.Log(p)
		}
		switch {
		case d == nil:
		case p != q: // what is cut off has no slope
			d[i] = 0
		default:
			d[i], slope = -t[i]/v, slope+float64(t[i])
		}
	}
	for i := range d {
		d[i] += float32(slope / sum)
	}
	return loss
}

// crossSoftmax is the loss after softmax, which Keras computes from what softmax was given: nothing is cut off.
func crossSoftmax(y, t []float32) float64 {
	loss := 0.0
	for i, v := range y {
		if t[i] != 0 {
			loss -= float64(t[i]) * math.Log(math.Max(float64(v), math.SmallestNonzeroFloat32))
		}
	}
	return loss
}

// sparse takes a class number for a target.
func sparse(logits bool) func(d, y, t []float32) float64 {
	if !logits {
		return sparseProbabilities
	}
	return func(d, y, t []float32) float64 {
		hot := make([]float32, len(y))
		hot[int(t[0])] = 1
		return crossLogits(d, y, hot)
	}
}

// sparseProbabilities cuts off first and divides by the sum then, as Keras does.
func sparseProbabilities(d, y, t []float32) float64 {
	sum := 0.0
	for _, v := range y {
		sum += clamp(float64(v), keep, 1-keep)
	}
	class := int(t[0])
	for i := range d {
		d[i] = 0
		if v := float64(y[i]); v == clamp(v, keep, 1-keep) {
			d[i] = float32(1/sum - step(i == class)/v)
		}
	}
	return math.Log(sum) - math.Log(clamp(float64(y[class]), keep, 1-keep))
}

// Correct counts the rows whose answer is right: the largest output is the wanted class, or, with one output, it lies
// on the wanted side of one half.
func (l *Loss) Correct(y, target []float32, rows int) int {
	if rows == 0 {
		return 0
	}
	out := len(y) / rows
	width := l.Width(out)
	n := 0
	for r := range rows {
		yr, tr := y[r*out:(r+1)*out], target[r*width:(r+1)*width]
		switch {
		case out == 1:
			half := float32(0.5)
			if l.FromLogits {
				half = 0
			}
			if (yr[0] > half) == (tr[0] > 0.5) {
				n++
			}
		case l.Sparse:
			if argmax(yr) == int(tr[0]) {
				n++
			}
		default:
			if argmax(yr) == argmax(tr) {
				n++
			}
		}
	}
	return n
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
