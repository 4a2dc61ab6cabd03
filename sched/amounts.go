package sched

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/fleet"
)

// amounts are quantities of everything that is counted: whole numbers, so that what is taken and released comes out
// exactly as it was.
type amounts [resources]int64

// What amounts hold, and in which unit.
const (
	cpu       = iota // millionths of a core
	memory           // bytes
	disk             // bytes
	storage          // bytes
	bandwidth        // bit/s
	power            // thousandths of a watt
	resources
)

// unlimited is the capacity of what a node does not bound.
const unlimited = math.MaxInt64 / 4

func cores(v float64) int64 { return int64(math.Round(v * 1e6)) }
func watts(v float64) int64 { return int64(math.Round(v * 1e3)) }

func orUnlimited(v int64) int64 {
	if v == 0 {
		return unlimited
	}
	return v
}

// offers are what the empty node has for tasks.
func offers(n fleet.Node) amounts {
	a := amounts{cpu: cores(n.CPU), memory: int64(n.Memory), disk: int64(n.Disk), storage: orUnlimited(int64(n.Storage)), bandwidth: orUnlimited(int64(n.Bandwidth)), power: unlimited}
	if n.MaxWatts > 0 {
		a[power] = watts(float64(n.MaxWatts - n.IdleWatts))
	}
	return a
}

// needs are what the task takes; of power only what it states itself.
func needs(a Ask) amounts {
	return amounts{cpu: cores(a.CPU), memory: int64(a.Memory), disk: int64(a.Disk), storage: int64(a.Storage), bandwidth: int64(a.Bandwidth), power: watts(float64(a.Watts))}
}

// absurd says what of the ask no task can mean.
func absurd(a Ask) string {
	switch {
	case !(a.CPU >= 0) || a.CPU > 1e9:
		return fmt.Sprintf("%v cores", a.CPU)
	case a.Memory < 0 || a.Disk < 0 || a.Storage < 0 || a.AcceleratorMemory < 0:
		return "a negative size"
	case a.Memory > unlimited || a.Disk > unlimited || a.Storage > unlimited || a.AcceleratorMemory > unlimited:
		return "a size beyond any machine's"
	case a.Accelerators < 0 || a.Accelerators > 1<<20:
		return fmt.Sprintf("%d accelerators", a.Accelerators)
	case a.Share < 0 || a.Share > whole:
		return fmt.Sprintf("a share of %d thousandths", a.Share)
	case a.Share > 0 && a.Share < whole && a.Accelerators != 1:
		return fmt.Sprintf("a share of %d accelerators", a.Accelerators)
	case a.Bandwidth < 0 || a.Bandwidth > unlimited:
		return fmt.Sprintf("a bandwidth of %d bit/s", a.Bandwidth)
	case !(a.Watts >= 0) || a.Watts > 1e12:
		return fmt.Sprintf("%v W", float64(a.Watts))
	}
	return ""
}

// whole is a device in thousandths of it.
const whole = 1000

// milli is what of each device the task takes.
func (a Ask) milli() int32 {
	switch {
	case a.Accelerators == 0:
		return 0
	case a.Share == 0:
		return whole
	}
	return int32(a.Share)
}

// matcher says which devices a task can use.
type matcher struct {
	kind   string
	models []string
	memory int64
}

func (a Ask) matcher() matcher { return matcher{a.Kind, a.Models, int64(a.AcceleratorMemory)} }

// device is what matters of an accelerator, beside which one it is.
type deviceType struct {
	kind, model string
	memory      int64
	power       int64
}

func typeOf(a fleet.Accelerator) deviceType {
	t := deviceType{a.Kind, a.Model, int64(a.Memory), watts(float64(a.Watts))}
	if t.kind == "" {
		t.kind = "gpu"
	}
	return t
}

func (m matcher) takes(t deviceType) bool {
	return (m.kind == "" || m.kind == t.kind) && m.memory <= t.memory && (len(m.models) == 0 || slices.Contains(m.models, t.model))
}

// String is the devices in words: "H100 or H200 of 80 GiB".
func (m matcher) String() string {
	s := m.kind
	if len(m.models) > 0 {
		s = strings.Join(m.models, " or ")
	}
	if m.memory > 0 {
		s = strings.TrimSpace(s + " with " + bytes(float64(m.memory)))
	}
	return s
}
