package compress

import (
	"context"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

const (
	rounds = 16
	work   = 30_000_000 // products of a round, about 1 to 10 ms
	calls  = 1000       // at most in a round
)

// time lets both networks answer rows in turns and takes the lower quartiles of the rounds: what else the machine does
// only ever adds.
func (s *Service) time(ctx context.Context, before, after *nn.Network, x []float32, r *Report) error {
	var nets [2]*nn.Predictor
	for i, n := range []*nn.Network{before, after} {
		p, err := nn.NewPredictor(n, 32)
		if err != nil {
			return err
		}
		nets[i] = p
	}
	r.Before.MemoryBytes, r.After.MemoryBytes = nets[0].Bytes(), nets[1].Bytes()
	width, out := count(before.Input), count(before.OutputShape())
	for _, rows := range []int{1, 32} {
		rows := min(rows, len(x)/width)
		var took [2][]time.Duration
		n := min(calls, 1+work/(rows*(1+before.Size())))
		y := make([]float32, rows*out)
		for range rounds {
			for i, p := range nets {
				if err := ctx.Err(); err != nil {
					return errs.E("compress.time", errs.KindOf(err), err)
				}
				began := s.clock.Now()
				for c := range n {
					at := c * rows % (len(x)/width - rows + 1) * width
					if err := p.Predict(y, x[at:at+rows*width], rows); err != nil {
						return err
					}
				}
				took[i] = append(took[i], s.clock.Now().Sub(began))
			}
		}
		for i, f := range []*Figures{&r.Before, &r.After} {
			slices.Sort(took[i])
			us := float64(took[i][rounds/4]) / float64(n*rows) / float64(time.Microsecond)
			if rows == 1 {
				f.Row1 = us
			}
			if rows > 1 || len(x)/width == 1 {
				f.Row32 = us
			}
		}
	}
	return nil
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
