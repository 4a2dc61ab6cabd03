package batch

import (
	"math/bits"
	"slices"

	"github.com/lineshaft/lineshaft/serve"
)

// stats is what one batcher did. The batcher's lock guards it.
type stats struct {
	batches, rows, padding int64
	sizes                  [32]int64 // by the power of two that holds the rows
	waits                  serve.Histogram
	full, late, left       int64
}

// count counts a batch.
func (s *stats) count(batch *slot) {
	s.batches++
	s.rows += int64(batch.rows)
	s.padding += int64(batch.padded - batch.rows)
	s.sizes[min(bits.Len(uint(batch.rows-1)), len(s.sizes)-1)]++
}

func (s *stats) show(b *Batcher) serve.Queue {
	var q serve.Queue
	q.Add(serve.Queue{
		Waiting: b.q.calls, WaitingRows: b.q.rows, Running: b.running,
		Batches: s.batches, Rows: s.rows, Padding: s.padding, Waits: s.waits,
		ShedFull: s.full, ShedLate: s.late, Left: s.left, Sizes: s.seen(),
	})
	return q
}

// seen is the counts up to the largest that was seen.
func (s *stats) seen() []int64 {
	most := len(s.sizes)
	for most > 0 && s.sizes[most-1] == 0 {
		most--
	}
	return slices.Clone(s.sizes[:most])
}
