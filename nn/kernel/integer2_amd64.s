#include "textflag.h"

// Products of bytes on 16 columns of a panel whose rows of four depths are step bytes apart: with VPDPBUSD where the
// processor has it for 256 bits, else in whole numbers of 16 bits, whose products do not overflow as those of VPMADDUBSW
// would.

// VPDPBUSD Y12, Y14, Yn and VPDPBUSD Y13, Y14, Y(n+1) in the encoding of AVX-VNNI, which the assembler does not know.
#define DOT2(n) \
	BYTE $0xc4; BYTE $0xc2; BYTE $0x0d; BYTE $0x50; BYTE $(0xc4+8*n); \
	BYTE $0xc4; BYTE $0xc2; BYTE $0x0d; BYTE $0x50; BYTE $(0xcd+8*n)

#define STORE(c0, c1) \
	VMOVDQU c0, (DX)   \
	VMOVDQU c1, 32(DX) \
	ADDQ    R8, DX

// func dots4x16(groups int, a *uint8, stride int, b *int8, step int, c *int32, ldc int)
TEXT ·dots4x16(SB), NOSPLIT, $0-56
	MOVQ  groups+0(FP), CX
	MOVQ  a+8(FP), SI
	MOVQ  stride+16(FP), R9
	MOVQ  b+24(FP), DI
	MOVQ  step+32(FP), R11
	MOVQ  c+40(FP), DX
	MOVQ  ldc+48(FP), R8
	LEAQ  (R9)(R9*2), R10
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7

loop4:
	VMOVDQU      (DI), Y12
	VMOVDQU      32(DI), Y13
	PREFETCHT0   1024(DI)
	VPBROADCASTD (SI), Y14
	DOT2(0)
	VPBROADCASTD (SI)(R9*1), Y14
	DOT2(2)
	VPBROADCASTD (SI)(R9*2), Y14
	DOT2(4)
	VPBROADCASTD (SI)(R10*1), Y14
	DOT2(6)
	ADDQ         $4, SI
	ADDQ         R11, DI
	DECQ         CX
	JNZ          loop4
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	VZEROUPPER
	RET

// func sparseDots16(n int, offsets, values *uint32, b *int8, c *int32)
TEXT ·sparseDots16(SB), NOSPLIT, $0-40
	MOVQ  n+0(FP), CX
	MOVQ  offsets+8(FP), R8
	MOVQ  values+16(FP), SI
	MOVQ  b+24(FP), DI
	MOVQ  c+32(FP), DX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	MOVQ  CX, R9
	SHRQ  $1, R9
	JZ    sdtail

sdloop:
	MOVL         (R8), AX
	MOVL         4(R8), BX
	MOVL         64(R8), R10
	VPBROADCASTD (SI), Y14
	VMOVDQU      (DI)(AX*1), Y12
	VMOVDQU      32(DI)(AX*1), Y13
	DOT2(0)
	VPBROADCASTD 4(SI), Y14
	VMOVDQU      (DI)(BX*1), Y12
	VMOVDQU      32(DI)(BX*1), Y13
	DOT2(2)
	PREFETCHT0   (DI)(R10*1)
	ADDQ         $8, R8
	ADDQ         $8, SI
	DECQ         R9
	JNZ          sdloop

sdtail:
	ANDQ         $1, CX
	JZ           sdsum
	MOVL         (R8), AX
	VPBROADCASTD (SI), Y14
	VMOVDQU      (DI)(AX*1), Y12
	VMOVDQU      32(DI)(AX*1), Y13
	DOT2(0)

sdsum:
	VPADDD  Y2, Y0, Y0
	VPADDD  Y3, Y1, Y1
	VMOVDQU Y0, (DX)
	VMOVDQU Y1, 32(DX)
	VZEROUPPER
	RET

// Adds the products of four columns' bytes at from with the four inputs in Y14 to c.
#define MADD(from, c) \
	VPMOVSXBW from, Y15       \
	VPMADDWD  Y15, Y14, Y15   \
	VPADDD    Y15, c, c

// Eight columns of two sums each become eight sums.
#define JOIN(c0, c1) \
	VPHADDD c1, c0, c0     \
	VPERMQ  $0xd8, c0, c0

// func madds1x16(groups int, a *uint8, b *int8, step int, c *int32)
TEXT ·madds1x16(SB), NOSPLIT, $0-40
	MOVQ  groups+0(FP), CX
	MOVQ  a+8(FP), SI
	MOVQ  b+16(FP), DI
	MOVQ  step+24(FP), R11
	MOVQ  c+32(FP), DX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

maddloop1:
	VPBROADCASTD (SI), X14
	PREFETCHT0   1024(DI)
	VPMOVZXBW    X14, Y14
	MADD((DI), Y0)
	MADD(16(DI), Y1)
	MADD(32(DI), Y2)
	MADD(48(DI), Y3)
	ADDQ         $4, SI
	ADDQ         R11, DI
	DECQ         CX
	JNZ          maddloop1
	JOIN(Y0, Y1)
	JOIN(Y2, Y3)
	VMOVDQU      Y0, (DX)
	VMOVDQU      Y2, 32(DX)
	VZEROUPPER
	RET

#define MADD2(c0, c1) \
	VPMADDWD Y12, Y14, Y13 \
	VPADDD   Y13, c0, c0   \
	VPMADDWD Y12, Y15, Y13 \
	VPADDD   Y13, c1, c1

// func madds2x16(groups int, a *uint8, stride int, b *int8, step int, c *int32, ldc int)
TEXT ·madds2x16(SB), NOSPLIT, $0-56
	MOVQ  groups+0(FP), CX
	MOVQ  a+8(FP), SI
	MOVQ  stride+16(FP), R9
	MOVQ  b+24(FP), DI
	MOVQ  step+32(FP), R11
	MOVQ  c+40(FP), DX
	MOVQ  ldc+48(FP), R8
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7

maddloop2:
	VPBROADCASTD (SI), X14
	VPBROADCASTD (SI)(R9*1), X15
	PREFETCHT0   1024(DI)
	VPMOVZXBW    X14, Y14
	VPMOVZXBW    X15, Y15
	VPMOVSXBW    (DI), Y12
	MADD2(Y0, Y4)
	VPMOVSXBW    16(DI), Y12
	MADD2(Y1, Y5)
	VPMOVSXBW    32(DI), Y12
	MADD2(Y2, Y6)
	VPMOVSXBW    48(DI), Y12
	MADD2(Y3, Y7)
	ADDQ         $4, SI
	ADDQ         R11, DI
	DECQ         CX
	JNZ          maddloop2
	JOIN(Y0, Y1)
	JOIN(Y2, Y3)
	JOIN(Y4, Y5)
	JOIN(Y6, Y7)
	STORE(Y0, Y2)
	STORE(Y4, Y6)
	VZEROUPPER
	RET

// func limits8(n int, x *float32, out *[48]float32)
TEXT ·limits8(SB), NOSPLIT, $0-24
	MOVQ    n+0(FP), CX
	MOVQ    x+8(FP), SI
	MOVQ    out+16(FP), DI
	VXORPS  Y3, Y3, Y3
	VXORPS  Y2, Y2, Y2
	VMOVUPS (SI), Y0
	VMOVAPS Y0, Y1
	XORQ    BX, BX

limitsloop:
	VMOVUPS     (SI)(BX*4), Y4
	VMINPS      Y4, Y0, Y0
	VMAXPS      Y4, Y1, Y1
	VFMADD231PS Y4, Y3, Y2
	ADDQ        $8, BX
	CMPQ        BX, CX
	JLT         limitsloop
	VMOVUPS     Y0, (DI)
	VMOVUPS     Y0, 32(DI)
	VMOVUPS     Y1, 64(DI)
	VMOVUPS     Y1, 96(DI)
	VMOVUPS     Y2, 128(DI)
	VMOVUPS     Y2, 160(DI)
	VZEROUPPER
	RET

// func quantise8(n int, dst *uint8, x *float32, inv float32, zero int32)
TEXT ·quantise8(SB), NOSPLIT, $0-32
	MOVQ         n+0(FP), CX
	MOVQ         dst+8(FP), DI
	MOVQ         x+16(FP), SI
	VBROADCASTSS inv+24(FP), Y1
	MOVL         zero+28(FP), AX
	VMOVD        AX, X2
	VPBROADCASTD X2, Y2
	XORQ         BX, BX

quantloop:
	VMULPS       (SI)(BX*4), Y1, Y0
	VCVTPS2DQ    Y0, Y0
	VPADDD       Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X3
	VPACKUSDW    X3, X0, X0
	VPACKUSWB    X0, X0, X0
	VMOVQ        X0, (DI)(BX*1)
	ADDQ         $8, BX
	CMPQ         BX, CX
	JLT          quantloop
	VZEROUPPER
	RET

// func worth8(n int, y *float32, acc *int32, scale, bias *float32, sums *int32, unit float32, zero int32, least float32)
TEXT ·worth8(SB), NOSPLIT, $0-60
	MOVQ         n+0(FP), CX
	MOVQ         y+8(FP), DI
	MOVQ         acc+16(FP), SI
	MOVQ         scale+24(FP), R8
	MOVQ         bias+32(FP), R9
	MOVQ         sums+40(FP), R10
	VBROADCASTSS unit+48(FP), Y4
	MOVL         zero+52(FP), AX
	VMOVD        AX, X5
	VPBROADCASTD X5, Y5
	VBROADCASTSS least+56(FP), Y6
	XORQ         BX, BX

worthloop:
	VPMULLD   (R10)(BX*4), Y5, Y1
	VMOVDQU   (SI)(BX*4), Y0
	VPSUBD    Y1, Y0, Y0
	VCVTDQ2PS Y0, Y0
	VMULPS    (R8)(BX*4), Y4, Y2
	VMULPS    Y2, Y0, Y0
	VADDPS    (R9)(BX*4), Y0, Y0
	VMAXPS    Y0, Y6, Y0
	VMOVUPS   Y0, (DI)(BX*4)
	ADDQ      $8, BX
	CMPQ      BX, CX
	JLT       worthloop
	VZEROUPPER
	RET

#define SPARSEPAIR(i, c0, c1, c2, c3) \
	MOVL         (4*i)(R8), AX            \
	VBROADCASTSS (8*i)(SI), Y8            \
	VBROADCASTSS (8*i+4)(SI), Y9          \
	MOVL         (4*i+64)(R8), BX         \
	VMOVDQU      (DI)(AX*1), Y10          \
	VMOVDQU      32(DI)(AX*1), Y11        \
	VPSLLD       $16, Y10, Y12            \
	VPSLLD       $16, Y11, Y13            \
	VPAND        Y15, Y10, Y10            \
	VPAND        Y15, Y11, Y11            \
	VFMADD231PS  Y12, Y8, c0              \
	VFMADD231PS  Y13, Y8, c1              \
	VFMADD231PS  Y10, Y9, c2              \
	VFMADD231PS  Y11, Y9, c3              \
	PREFETCHT0   (DI)(BX*1)

// func sparseHalf16(n int, offsets *uint32, values *float32, b *uint16, c *float32)
TEXT ·sparseHalf16(SB), NOSPLIT, $0-40
	MOVQ         n+0(FP), CX
	MOVQ         offsets+8(FP), R8
	MOVQ         values+16(FP), SI
	MOVQ         b+24(FP), DI
	MOVQ         c+32(FP), DX
	VPCMPEQD     Y15, Y15, Y15
	VPSLLD       $16, Y15, Y15
	VXORPS       Y0, Y0, Y0
	VXORPS       Y1, Y1, Y1
	VXORPS       Y2, Y2, Y2
	VXORPS       Y3, Y3, Y3
	VXORPS       Y4, Y4, Y4
	VXORPS       Y5, Y5, Y5
	VXORPS       Y6, Y6, Y6
	VXORPS       Y7, Y7, Y7
	MOVQ         CX, R9
	SHRQ         $1, R9
	JZ           halftail

halfloop:
	SPARSEPAIR(0, Y0, Y1, Y2, Y3)
	SPARSEPAIR(1, Y4, Y5, Y6, Y7)
	ADDQ $8, R8
	ADDQ $16, SI
	DECQ R9
	JNZ  halfloop

halftail:
	ANDQ $1, CX
	JZ   halfsum
	SPARSEPAIR(0, Y0, Y1, Y2, Y3)

halfsum:
	VADDPS  Y2, Y0, Y0
	VADDPS  Y3, Y1, Y1
	VADDPS  Y6, Y4, Y4
	VADDPS  Y7, Y5, Y5
	VADDPS  Y4, Y0, Y0
	VADDPS  Y5, Y1, Y1
	VMOVUPS Y0, (DX)
	VMOVUPS Y1, 32(DX)
	VZEROUPPER
	RET

// func widen16(pairs int, dst *float32, src *uint16)
TEXT ·widen16(SB), NOSPLIT, $0-24
	MOVQ     pairs+0(FP), CX
	MOVQ     dst+8(FP), DI
	MOVQ     src+16(FP), SI
	VPCMPEQD Y15, Y15, Y15
	VPSLLD   $16, Y15, Y15

widenloop:
	VMOVDQU    (SI), Y0
	VMOVDQU    32(SI), Y1
	PREFETCHT0 1024(SI)
	VPSLLD     $16, Y0, Y2
	VPSLLD     $16, Y1, Y3
	VPAND      Y15, Y0, Y0
	VPAND      Y15, Y1, Y1
	VMOVDQU    Y2, (DI)
	VMOVDQU    Y3, 32(DI)
	VMOVDQU    Y0, 64(DI)
	VMOVDQU    Y1, 96(DI)
	ADDQ       $64, SI
	ADDQ       $128, DI
	DECQ       CX
	JNZ        widenloop
	VZEROUPPER
	RET
