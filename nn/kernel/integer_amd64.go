package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// integer2 is the arithmetic of bytes on AVX2, for panels of rows of so many bytes: 16 columns at a time.
func integer2(step int, vnni bool) integer {
	i := integer{limits: limits8, quantise: quantise8, worth: worth8, half: sparseHalf16, widen: widen16}
	if vnni {
		i.rows, i.sparse = 4, true
		i.tile = func(_, groups int, a *uint8, stride int, b *int8, c *int32, ldc int) int {
			for at := 0; at < step; at += 64 {
				dots4x16(groups, a, stride, at8(b, at), step, at32(c, at), 4*ldc)
			}
			return 4
		}
		i.vector = func(n int, offsets, values *uint32, _ int, _ *uint8, b *int8, c *int32) {
			for at := 0; at < step; at += 64 {
				sparseDots16(n, offsets, values, at8(b, at), at32(c, at))
			}
		}
		return i
	}
	i.rows = 2
	i.tile = func(_, groups int, a *uint8, stride int, b *int8, c *int32, ldc int) int {
		for at := 0; at < step; at += 64 {
			madds2x16(groups, a, stride, at8(b, at), step, at32(c, at), 4*ldc)
		}
		return 2
	}
	i.vector = func(_ int, _, _ *uint32, groups int, a *uint8, b *int8, c *int32) {
		for at := 0; at < step; at += 64 {
			madds1x16(groups, a, at8(b, at), step, at32(c, at))
		}
	}
	return i
}

// at8 and at32 are so many bytes on: 16 columns of four bytes, 16 sums.
func at8(p *int8, n int) *int8    { return (*int8)(unsafe.Add(unsafe.Pointer(p), n)) }
func at32(p *int32, n int) *int32 { return (*int32)(unsafe.Add(unsafe.Pointer(p), n)) }

// integer512 is that of AVX-512, with VNNI where the processor has it.
func integer512() integer {
	i := integer2(128, cpu.X86.HasAVXVNNI)
	i.half, i.widen = sparseHalf32, widen32
	if cpu.X86.HasAVX512BW {
		i.limits, i.quantise, i.worth = limits16, quantise16, worth16
	}
	if !cpu.X86.HasAVX512VNNI {
		return i
	}
	i.rows, i.sparse = 4, true
	i.tile = func(m, groups int, a *uint8, stride int, b *int8, c *int32, ldc int) int {
		if m > 4 {
			dots8x32(groups, a, stride, b, c, 4*ldc)
			return 8
		}
		dots4x32(groups, a, stride, b, c, 4*ldc)
		return 4
	}
	i.vector = func(n int, offsets, values *uint32, _ int, _ *uint8, b *int8, c *int32) {
		sparseDots32(n, offsets, values, b, c)
	}
	return i
}

//go:noescape
func dots8x32(groups int, a *uint8, stride int, b *int8, c *int32, ldc int)

//go:noescape
func dots4x32(groups int, a *uint8, stride int, b *int8, c *int32, ldc int)

//go:noescape
func sparseDots32(n int, offsets, values *uint32, b *int8, c *int32)

//go:noescape
func limits16(n int, x *float32, out *[48]float32)

//go:noescape
func quantise16(n int, dst *uint8, x *float32, inv float32, zero int32)

//go:noescape
func worth16(n int, y *float32, acc *int32, scale, bias *float32, sums *int32, unit float32, zero int32, least float32)

//go:noescape
func sparseHalf32(n int, offsets *uint32, values *float32, b *uint16, c *float32)

//go:noescape
func widen32(pairs int, dst *float32, src *uint16)

//go:noescape
func dots4x16(groups int, a *uint8, stride int, b *int8, step int, c *int32, ldc int)

//go:noescape
func sparseDots16(n int, offsets, values *uint32, b *int8, c *int32)

//go:noescape
func madds1x16(groups int, a *uint8, b *int8, step int, c *int32)

//go:noescape
func madds2x16(groups int, a *uint8, stride int, b *int8, step int, c *int32, ldc int)

//go:noescape
func limits8(n int, x *float32, out *[48]float32)

//go:noescape
func quantise8(n int, dst *uint8, x *float32, inv float32, zero int32)

//go:noescape
func worth8(n int, y *float32, acc *int32, scale, bias *float32, sums *int32, unit float32, zero int32, least float32)

//go:noescape
func sparseHalf16(n int, offsets *uint32, values *float32, b *uint16, c *float32)

//go:noescape
func widen16(pairs int, dst *float32, src *uint16)
