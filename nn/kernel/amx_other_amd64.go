//go:build !linux

package kernel

// amx needs Linux's permission for its registers.
func amx() (*Set, bool) { return nil, false }
