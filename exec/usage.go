package exec

import (
	"context"
	"time"

	"github.com/lineshaft/lineshaft/internal/units"
)

// Usage is what a running attempt uses, as it was last measured. Rates are means over Span.
type Usage struct {
	Ref  TaskRef       `json:"ref"`
	Time time.Time     `json:"time"`
	Span time.Duration `json:"span_ns"` // 0: it was measured once only, and there are no rates yet

	CPUSeconds float64     `json:"cpu_seconds"` // since it started
	CPU        float64     `json:"cpu"`         // cores
	Throttled  float64     `json:"throttled"`   // part of Span, 0 to 1, in which it wanted more processor than its limit
	Waiting    float64     `json:"waiting"`     // part of Span in which some of it waited for a processor; 0 where the kernel does not tell
	Memory     units.Bytes `json:"memory"`      // without what the kernel could drop at once
	Peak       units.Bytes `json:"peak"`        // of Memory, as looked at
	Disk       units.Bytes `json:"disk"`        // scratch: of its folders, those of Storage excepted where that is limited
	Storage    units.Bytes `json:"storage"`     // of the folder of what it leaves

	// Of the network, both directions; Networked is false where it is not counted.
	Networked bool                `json:"networked"`
	Received  units.Bytes         `json:"received"`
	Sent      units.Bytes         `json:"sent"`
	Receive   units.BitsPerSecond `json:"receive"`
	Send      units.BitsPerSecond `json:"send"`
	Dropped   units.Bytes         `json:"dropped"` // sent or received beyond its limit, to be sent again

	Recent Recent `json:"recent"`

	// Limits are those that hold now. One that the machine cannot change is zero.
	Limits Limits `json:"limits"`
}

// Recent is the most that an attempt used at any time of a window that ends now.
type Recent struct {
	Over      time.Duration       `json:"over_ns"` // the window, or less as long as it is younger
	CPU       float64             `json:"cpu"`     // wanted at least: used, and a core for as long as some of it waited for one
	Memory    units.Bytes         `json:"memory"`
	Disk      units.Bytes         `json:"disk"`
	Storage   units.Bytes         `json:"storage"`
	Bandwidth units.BitsPerSecond `json:"bandwidth"` // of the busier direction
}

// Meters measure attempts and change what they may use while they run.
type Meters interface {
	// Usage is errs.NotFound for an attempt that is not here and errs.Conflict for one that does not run.
	Usage(ctx context.Context, ref TaskRef) (Usage, error)
	// Adjust changes limits of a running attempt, and returns when they hold. A field that is zero is set back to what
	// the attempt was started with, its promise. Processes and Accelerators do not change.
	//
	// CPU and Bandwidth may be set below and above the promise. Memory, Disk and Storage may be set below, and nothing is
	// ended for that: memory is what the kernel takes back to when others need some, disk is what is counted. Above the
	// promise they are errs.Invalid.
	//
	// What was set holds as long as the attempt runs, whatever becomes of the server. An attempt that does not run is
	// errs.Conflict: a newer attempt of the task starts with its promise.
	Adjust(ctx context.Context, ref TaskRef, l Limits) error
}
