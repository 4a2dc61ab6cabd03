package queue

import (
	"math"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/units"
)

// Amount is resources without a place: what a quota bounds and what a gang adds up to.
type Amount struct {
	CPU          float64             `json:"cpu,omitempty" yaml:"cpu,omitempty"` // cores
	Memory       units.Bytes         `json:"memory,omitempty" yaml:"memory,omitempty"`
	Storage      units.Bytes         `json:"storage,omitempty" yaml:"storage,omitempty"`
	Accelerators float64             `json:"accelerators,omitempty" yaml:"accelerators,omitempty"` // a share counts as its part
	Bandwidth    units.BitsPerSecond `json:"bandwidth,omitempty" yaml:"bandwidth,omitempty"`
	Watts        units.Watts         `json:"watts,omitempty" yaml:"watts,omitempty"`
}

// vector is an amount as numbers; the places are those of resources.
type vector [6]float64

// resources names the places of a vector, as reasons do.
var resources = [6]string{"cpu", "memory", "storage", "accelerators", "bandwidth", "watts"}

// slack absorbs the rounding of sums of fractions.
const slack = 1e-6

func (a Amount) vector() vector {
	return vector{a.CPU, float64(a.Memory), float64(a.Storage), a.Accelerators, float64(a.Bandwidth), float64(a.Watts)}
}

func (v vector) amount() Amount {
	return Amount{
		CPU: v[0], Memory: units.Bytes(math.Round(v[1])), Storage: units.Bytes(math.Round(v[2])), Accelerators: v[3],
		Bandwidth: units.BitsPerSecond(math.Round(v[4])), Watts: units.Watts(v[5]),
	}
}

// Add is both together.
func (a Amount) Add(b Amount) Amount {
	return Amount{a.CPU + b.CPU, a.Memory + b.Memory, a.Storage + b.Storage, a.Accelerators + b.Accelerators, a.Bandwidth + b.Bandwidth, a.Watts + b.Watts}
}

// Times is the amount n times over.
func (a Amount) Times(n float64) Amount {
	v := a.vector()
	for r := range v {
		v[r] *= n
	}
	return v.amount()
}

func (v *vector) add(w vector, times float64) {
	for r := range v {
		v[r] += w[r] * times
	}
}

// dominant is the largest share that v has of any resource of the whole, and which one that is.
func (v vector) dominant(whole vector) (share float64, resource int) {
	for r := range v {
		if whole[r] > 0 && v[r]/whole[r] > share {
			share, resource = v[r]/whole[r], r
		}
	}
	return share, resource
}

// write prints the amount of one resource as reasons do.
func write(resource int, v float64) string {
	v = max(v, 0)
	switch resources[resource] {
	case "memory", "storage":
		return units.Bytes(v).String()
	case "bandwidth":
		return units.BitsPerSecond(v).String()
	}
	return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
}
