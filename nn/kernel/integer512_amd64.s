#include "textflag.h"

// Products of bytes by VPDPBUSD: four products of an input (0 to 255) and a weight (-127 to 127) are added to each of
// sixteen whole numbers.

#define DOTROW(at, t, c0, c1) \
	VPBROADCASTD at, t     \
	VPDPBUSD Z24, t, c0    \
	VPDPBUSD Z25, t, c1

#define ZERO4(a, b, c, d) \
	VPXORQ a, a, a \
	VPXORQ b, b, b \
	VPXORQ c, c, c \
	VPXORQ d, d, d

#define STORE(c0, c1) \
	VMOVDQU32 c0, (DX)   \
	VMOVDQU32 c1, 64(DX) \
	ADDQ      R8, DX

// func dots8x32(groups int, a *uint8, stride int, b *int8, c *int32, ldc int)
TEXT ·dots8x32(SB), NOSPLIT, $0-48
	MOVQ groups+0(FP), CX
	MOVQ a+8(FP), SI
	MOVQ stride+16(FP), R9
	MOVQ b+24(FP), DI
	MOVQ c+32(FP), DX
	MOVQ ldc+40(FP), R8
	LEAQ (R9)(R9*2), AX
	LEAQ (SI)(AX*1), R10
	LEAQ (R10)(AX*1), R11
	ZERO4(Z0, Z1, Z2, Z3)
	ZERO4(Z4, Z5, Z6, Z7)
	ZERO4(Z8, Z9, Z10, Z11)
	ZERO4(Z12, Z13, Z14, Z15)

loop8:
	VMOVDQU32 (DI), Z24
	VMOVDQU32 64(DI), Z25
	PREFETCHT0 2048(DI)
	PREFETCHT0 2112(DI)
	DOTROW((SI), Z26, Z0, Z1)
	DOTROW((SI)(R9*1), Z27, Z2, Z3)
	DOTROW((SI)(R9*2), Z28, Z4, Z5)
	DOTROW((R10), Z29, Z6, Z7)
	DOTROW((R10)(R9*1), Z30, Z8, Z9)
	DOTROW((R10)(R9*2), Z31, Z10, Z11)
	DOTROW((R11), Z26, Z12, Z13)
	DOTROW((R11)(R9*1), Z27, Z14, Z15)
	ADDQ $4, SI
	ADDQ $4, R10
	ADDQ $4, R11
	ADDQ $128, DI
	DECQ CX
	JNZ  loop8
	STORE(Z0, Z1)
	STORE(Z2, Z3)
	STORE(Z4, Z5)
	STORE(Z6, Z7)
	STORE(Z8, Z9)
	STORE(Z10, Z11)
	STORE(Z12, Z13)
	STORE(Z14, Z15)
	VZEROUPPER
	RET

// func dots4x32(groups int, a *uint8, stride int, b *int8, c *int32, ldc int)
TEXT ·dots4x32(SB), NOSPLIT, $0-48
	MOVQ groups+0(FP), CX
	MOVQ a+8(FP), SI
	MOVQ stride+16(FP), R9
	MOVQ b+24(FP), DI
	MOVQ c+32(FP), DX
	MOVQ ldc+40(FP), R8
	LEAQ (R9)(R9*2), AX
	LEAQ (SI)(AX*1), R10
	ZERO4(Z0, Z1, Z2, Z3)
	ZERO4(Z4, Z5, Z6, Z7)

loop4:
	VMOVDQU32 (DI), Z24
	VMOVDQU32 64(DI), Z25
	PREFETCHT0 2048(DI)
	PREFETCHT0 2112(DI)
	DOTROW((SI), Z26, Z0, Z1)
	DOTROW((SI)(R9*1), Z27, Z2, Z3)
	DOTROW((SI)(R9*2), Z28, Z4, Z5)
	DOTROW((R10), Z29, Z6, Z7)
	ADDQ $4, SI
	ADDQ $4, R10
	ADDQ $128, DI
	DECQ CX
	JNZ  loop4
	STORE(Z0, Z1)
	STORE(Z2, Z3)
	STORE(Z4, Z5)
	STORE(Z6, Z7)
	VZEROUPPER
	RET

#define SPARSEDOT(i, v, c0, c1) \
	MOVL         (4*i)(R8), AX            \
	VPBROADCASTD (4*i)(SI), v             \
	MOVL         (4*i+64)(R8), BX         \
	VPDPBUSD     (DI)(AX*1), v, c0        \
	VPDPBUSD     64(DI)(AX*1), v, c1      \
	PREFETCHT0   (DI)(BX*1)               \
	PREFETCHT0   64(DI)(BX*1)

// func sparseDots32(n int, offsets, values *uint32, b *int8, c *int32)
TEXT ·sparseDots32(SB), NOSPLIT, $0-40
	MOVQ n+0(FP), CX
	MOVQ offsets+8(FP), R8
	MOVQ values+16(FP), SI
	MOVQ b+24(FP), DI
	MOVQ c+32(FP), DX
	ZERO4(Z0, Z1, Z2, Z3)
	ZERO4(Z4, Z5, Z6, Z7)
	MOVQ CX, R9
	SHRQ $2, R9
	JZ   tail

loop:
	SPARSEDOT(0, Z8, Z0, Z1)
	SPARSEDOT(1, Z9, Z2, Z3)
	SPARSEDOT(2, Z10, Z4, Z5)
	SPARSEDOT(3, Z11, Z6, Z7)
	ADDQ $16, R8
	ADDQ $16, SI
	DECQ R9
	JNZ  loop

tail:
	ANDQ $3, CX
	JZ   sum

tailloop:
	MOVL         (R8), AX
	VPBROADCASTD (SI), Z8
	VPDPBUSD     (DI)(AX*1), Z8, Z0
	VPDPBUSD     64(DI)(AX*1), Z8, Z1
	ADDQ         $4, R8
	ADDQ         $4, SI
	DECQ         CX
	JNZ          tailloop

sum:
	VPADDD    Z2, Z0, Z0
	VPADDD    Z3, Z1, Z1
	VPADDD    Z6, Z4, Z4
	VPADDD    Z7, Z5, Z5
	VPADDD    Z4, Z0, Z0
	VPADDD    Z5, Z1, Z1
	VMOVDQU32 Z0, (DX)
	VMOVDQU32 Z1, 64(DX)
	VZEROUPPER
	RET

// func limits16(n int, x *float32, out *[48]float32)
// The least, the largest, and the sum of x·0, which is 0 unless an element is no number or infinite, each in 16 parts.
TEXT ·limits16(SB), NOSPLIT, $0-24
	MOVQ    n+0(FP), CX
	MOVQ    x+8(FP), SI
	MOVQ    out+16(FP), DI
	VPXORQ  Z3, Z3, Z3
	VPXORQ  Z2, Z2, Z2
	VMOVUPS (SI), Z0
	VMOVAPS Z0, Z1
	XORQ    BX, BX

limitsloop:
	VMOVUPS     (SI)(BX*4), Z4
	VMINPS      Z4, Z0, Z0
	VMAXPS      Z4, Z1, Z1
	VFMADD231PS Z4, Z3, Z2
	ADDQ        $16, BX
	CMPQ        BX, CX
	JLT         limitsloop
	VMOVUPS     Z0, (DI)
	VMOVUPS     Z1, 64(DI)
	VMOVUPS     Z2, 128(DI)
	VZEROUPPER
	RET

// func quantise16(n int, dst *uint8, x *float32, inv float32, zero int32)
TEXT ·quantise16(SB), NOSPLIT, $0-32
	MOVQ         n+0(FP), CX
	MOVQ         dst+8(FP), DI
	MOVQ         x+16(FP), SI
	VBROADCASTSS inv+24(FP), Z1
	MOVL         zero+28(FP), AX
	VPBROADCASTD AX, Z2
	VPXORQ       Z3, Z3, Z3
	XORQ         BX, BX

quantloop:
	VMULPS    (SI)(BX*4), Z1, Z0
	VCVTPS2DQ Z0, Z0
	VPADDD    Z2, Z0, Z0
	VPMAXSD   Z3, Z0, Z0
	VPMOVUSDB Z0, (DI)(BX*1)
	ADDQ      $16, BX
	CMPQ      BX, CX
	JLT       quantloop
	VZEROUPPER
	RET

// func worth16(n int, y *float32, acc *int32, scale, bias *float32, sums *int32, unit float32, zero int32, least float32)
TEXT ·worth16(SB), NOSPLIT, $0-60
	MOVQ         n+0(FP), CX
	MOVQ         y+8(FP), DI
	MOVQ         acc+16(FP), SI
	MOVQ         scale+24(FP), R8
	MOVQ         bias+32(FP), R9
	MOVQ         sums+40(FP), R10
	VBROADCASTSS unit+48(FP), Z4
	MOVL         zero+52(FP), AX
	VPBROADCASTD AX, Z5
	VBROADCASTSS least+56(FP), Z6
	XORQ         BX, BX

worthloop:
	VPMULLD   (R10)(BX*4), Z5, Z1
	VMOVDQU32 (SI)(BX*4), Z0
	VPSUBD    Z1, Z0, Z0
	VCVTDQ2PS Z0, Z0
	VMULPS    (R8)(BX*4), Z4, Z2
	VMULPS    Z2, Z0, Z0
	VADDPS    (R9)(BX*4), Z0, Z0
	VMAXPS    Z0, Z6, Z0
	VMOVUPS   Z0, (DI)(BX*4)
	ADDQ      $16, BX
	CMPQ      BX, CX
	JLT       worthloop
	VZEROUPPER
	RET

// Two rows of a panel in bfloat16: their values times their two vectors each.
#define SPARSEPAIR(i, c0, c1, c2, c3) \
	MOVL         (4*i)(R8), AX            \
	VBROADCASTSS (8*i)(SI), Z8            \
	VBROADCASTSS (8*i+4)(SI), Z9          \
	MOVL         (4*i+64)(R8), BX         \
	VMOVDQU32    (DI)(AX*1), Z10          \
	VMOVDQU32    64(DI)(AX*1), Z11        \
	VPSLLD       $16, Z10, Z12            \
	VPSLLD       $16, Z11, Z13            \
	VPANDD       Z31, Z10, Z10            \
	VPANDD       Z31, Z11, Z11            \
	VFMADD231PS  Z12, Z8, c0              \
	VFMADD231PS  Z13, Z8, c1              \
	VFMADD231PS  Z10, Z9, c2              \
	VFMADD231PS  Z11, Z9, c3              \
	PREFETCHT0   (DI)(BX*1)               \
	PREFETCHT0   64(DI)(BX*1)

// func sparseHalf32(n int, offsets *uint32, values *float32, b *uint16, c *float32)
TEXT ·sparseHalf32(SB), NOSPLIT, $0-40
	MOVQ n+0(FP), CX
	MOVQ offsets+8(FP), R8
	MOVQ values+16(FP), SI
	MOVQ b+24(FP), DI
	MOVQ c+32(FP), DX
	MOVL $0xffff0000, AX
	VPBROADCASTD AX, Z31
	ZERO4(Z0, Z1, Z2, Z3)
	ZERO4(Z4, Z5, Z6, Z7)
	MOVQ CX, R9
	SHRQ $1, R9
	JZ   halftail

halfloop:
	SPARSEPAIR(0, Z0, Z1, Z2, Z3)
	SPARSEPAIR(1, Z4, Z5, Z6, Z7)
	ADDQ $8, R8
	ADDQ $16, SI
	DECQ R9
	JNZ  halfloop

halftail:
	ANDQ $1, CX
	JZ   halfsum
	SPARSEPAIR(0, Z0, Z1, Z2, Z3)

halfsum:
	VADDPS  Z2, Z0, Z0
	VADDPS  Z3, Z1, Z1
	VADDPS  Z6, Z4, Z4
	VADDPS  Z7, Z5, Z5
	VADDPS  Z4, Z0, Z0
	VADDPS  Z5, Z1, Z1
	VMOVUPS Z0, (DX)
	VMOVUPS Z1, 64(DX)
	VZEROUPPER
	RET

// func widen32(pairs int, dst *float32, src *uint16)
// Pairs of rows of 32 columns become rows of float32.
TEXT ·widen32(SB), NOSPLIT, $0-24
	MOVQ pairs+0(FP), CX
	MOVQ dst+8(FP), DI
	MOVQ src+16(FP), SI
	MOVL $0xffff0000, AX
	VPBROADCASTD AX, Z31

widenloop:
	VMOVDQU32 (SI), Z0
	VMOVDQU32 64(SI), Z1
	PREFETCHT0 2048(SI)
	PREFETCHT0 2112(SI)
	VPSLLD    $16, Z0, Z2
	VPSLLD    $16, Z1, Z3
	VPANDD    Z31, Z0, Z0
	VPANDD    Z31, Z1, Z1
	VMOVDQU32 Z2, (DI)
	VMOVDQU32 Z3, 64(DI)
	VMOVDQU32 Z0, 128(DI)
	VMOVDQU32 Z1, 192(DI)
	ADDQ      $128, SI
	ADDQ      $256, DI
	DECQ      CX
	JNZ       widenloop
	VZEROUPPER
	RET
