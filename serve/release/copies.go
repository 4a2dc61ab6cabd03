package release

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Copies is what a shadow's answers were like beside those that were given.
type Copies struct {
	Compared int64   `json:"compared"`
	Dropped  int64   `json:"dropped"` // because the candidate was busy
	Failed   int64   `json:"failed"`  // that the candidate did not answer, or in another form
	Alike    int64   `json:"alike"`   // answers that are the same to the bit
	Rows     int64   `json:"rows"`    // compared by the place of the largest number
	Agreed   int64   `json:"agreed"`  // of which in the same place
	MaxAbs   float64 `json:"max_abs"` // largest difference of two numbers
	MaxRel   float64 `json:"max_rel"` // largest one relative to the larger of the two, where that is not near nothing
	MeanAbs  float64 `json:"mean_abs"`
	StableMs float64 `json:"stable_ms"` // mean time of the computation alone, as is the next
	ShadowMs float64 `json:"shadow_ms"`
	Error    string  `json:"error,omitempty"` // the last one

	numbers int64
}

// near is below which numbers are not compared relatively: softmax gives many that are next to nothing.
const near = 1e-6

// Fail counts an answer that did not come.
func (c *Copies) Fail(why string) {
	c.Failed++
	c.Error = why
}

// Compare counts the answer to a copy beside the one that was given.
func (c *Copies) Compare(stable, shadow []tensor.Tensor, took, tookShadow time.Duration) {
	if len(stable) != len(shadow) {
		c.Fail(fmt.Sprintf("it answers with %d outputs, not %d", len(shadow), len(stable)))
		return
	}
	for i := range stable {
		if a, b := &stable[i], &shadow[i]; a.Type != b.Type || !sameShape(a.Shape, b.Shape) {
			c.Fail(fmt.Sprintf("its output %d is %v %s, not %v %s", i+1, b.Type, tensor.Text(b.Shape), a.Type, tensor.Text(a.Shape)))
			return
		}
	}
	alike := true
	for i := range stable {
		alike = c.output(&stable[i], &shadow[i]) && alike
	}
	if alike {
		c.Alike++
	}
	n := float64(c.Compared)
	c.Compared++
	c.StableMs = (c.StableMs*n + took.Seconds()*1e3) / (n + 1)
	c.ShadowMs = (c.ShadowMs*n + tookShadow.Seconds()*1e3) / (n + 1)
}

func sameShape(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// output compares two tensors of one type and shape.
func (c *Copies) output(a, b *tensor.Tensor) (alike bool) {
	if a.Type == tensor.Bytes {
		for i := range a.Strings {
			if !bytes.Equal(a.Strings[i], b.Strings[i]) {
				return false
			}
		}
		return true
	}
	size := a.Type.Size()
	n := len(a.Data) / size
	wide := 0 // numbers of a row, where rows have more than one
	if len(a.Shape) > 1 {
		wide = a.Shape[len(a.Shape)-1]
	}
	var most [2]float64
	var at [2]int
	for i := range n {
		x, y := a.Number(i), b.Number(i)
		c.number(x, y)
		if wide < 2 {
			continue
		}
		for side, v := range [2]float64{x, y} {
			if i%wide == 0 || v > most[side] {
				most[side], at[side] = v, i%wide
			}
		}
		if i%wide == wide-1 {
			c.Rows++
			if at[0] == at[1] {
				c.Agreed++
			}
		}
	}
	return bytes.Equal(a.Data, b.Data)
}

func (c *Copies) number(x, y float64) {
	d := math.Abs(x - y)
	if x == y || math.IsNaN(x) && math.IsNaN(y) { // infinities alike differ by nothing
		d = 0
	}
	if math.IsNaN(d) || math.IsInf(d, 0) {
		d = math.MaxFloat64 // JSON has no infinity
	}
	c.MaxAbs = max(c.MaxAbs, d)
	if scale := max(math.Abs(x), math.Abs(y)); d > 0 && scale > near {
		c.MaxRel = max(c.MaxRel, min(d/scale, 2))
	}
	c.numbers++
	c.MeanAbs += (d - c.MeanAbs) / float64(c.numbers)
}
