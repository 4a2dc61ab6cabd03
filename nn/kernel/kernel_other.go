//go:build !amd64

package kernel

// Best is the fastest set that this processor runs.
func Best() *Set { return Portable() }

// Available lists the sets that this processor runs, fastest first.
func Available() []*Set { return []*Set{Portable()} }
