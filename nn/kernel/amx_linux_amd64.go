package kernel

import (
	"syscall"

	"golang.org/x/sys/cpu"
)

// amx is avx512 with large products on the matrix extension, where the processor has it and the kernel lets this process
// use it.
func amx() (*Set, bool) {
	const (
		archPrctl   = 158
		requestPerm = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData    = 18
	)
	if !cpu.X86.HasAMXTile || !cpu.X86.HasAMXBF16 {
		return nil, false
	}
	if _, _, failed := syscall.RawSyscall(archPrctl, requestPerm, tileData, 0); failed != 0 {
		return nil, false
	}
	s := avx512()
	s.Name = "amx"
	s.split = &splitter{least: 20, bytes: cpu.X86.HasAMXInt8, blocks: blocksAMX, row: splitRow, pairs: splitPairs}
	return s, true
}

//go:noescape
func blocksAMX(work *grid)

//go:noescape
func splitRow(n int, src *float32, dst *uint16, partBytes int)

//go:noescape
func splitPairs(n int, src *float32, ldBytes int, dst *uint16, partBytes int)
