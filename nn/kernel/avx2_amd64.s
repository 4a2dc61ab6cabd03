#include "textflag.h"

// func row16(k int, a, b, c *float32, add bool)
TEXT ·row16(SB), NOSPLIT, $0-33
	MOVQ   k+0(FP), CX
	MOVQ   a+8(FP), SI
	MOVQ   b+16(FP), DI
	MOVQ   c+24(FP), DX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	MOVQ   CX, R9
	SHRQ   $2, R9
	JZ     rowtail

rowloop:
	VBROADCASTSS (SI), Y8
	VBROADCASTSS 4(SI), Y9
	VBROADCASTSS 8(SI), Y10
	VBROADCASTSS 12(SI), Y11
	VFMADD231PS  (DI), Y8, Y0
	VFMADD231PS  32(DI), Y8, Y1
	VFMADD231PS  64(DI), Y9, Y2
	VFMADD231PS  96(DI), Y9, Y3
	VFMADD231PS  128(DI), Y10, Y4
	VFMADD231PS  160(DI), Y10, Y5
	VFMADD231PS  192(DI), Y11, Y6
	VFMADD231PS  224(DI), Y11, Y7
	PREFETCHT0   1024(DI)
	PREFETCHT0   1088(DI)
	PREFETCHT0   1152(DI)
	PREFETCHT0   1216(DI)
	ADDQ         $16, SI
	ADDQ         $256, DI
	DECQ         R9
	JNZ          rowloop

rowtail:
	ANDQ $3, CX
	JZ   rowsum

rowtailloop:
	VBROADCASTSS (SI), Y8
	VFMADD231PS  (DI), Y8, Y0
	VFMADD231PS  32(DI), Y8, Y1
	ADDQ         $4, SI
	ADDQ         $64, DI
	DECQ         CX
	JNZ          rowtailloop

rowsum:
	VADDPS  Y2, Y0, Y0
	VADDPS  Y3, Y1, Y1
	VADDPS  Y6, Y4, Y4
	VADDPS  Y7, Y5, Y5
	VADDPS  Y4, Y0, Y0
	VADDPS  Y5, Y1, Y1
	MOVBLZX add+32(FP), AX
	TESTB   AL, AL
	JZ      rowstore
	VADDPS  (DX), Y0, Y0
	VADDPS  32(DX), Y1, Y1

rowstore:
	VMOVUPS Y0, (DX)
	VMOVUPS Y1, 32(DX)
	VZEROUPPER
	RET

// Adam's averages of a weight whose gradient stays zero shrink for ever. Below 1e-38 the processor is a hundred times
// slower, so such numbers count as zero here too (MXCSR: flush to zero, denormals are zero).
#define FLUSH \
	STMXCSR mxcsr-4(SP)      \
	MOVL    mxcsr-4(SP), AX  \
	ORL     $0x8040, AX      \
	MOVL    AX, flush-8(SP)  \
	LDMXCSR flush-8(SP)

#define UNFLUSH \
	LDMXCSR mxcsr-4(SP)

// func adam8(n int, p, m, v, grad *float32, c *Adam)
TEXT ·adam8(SB), NOSPLIT, $8-48
	FLUSH
	MOVQ         n+0(FP), CX
	MOVQ         p+8(FP), DI
	MOVQ         m+16(FP), R8
	MOVQ         v+24(FP), R9
	MOVQ         grad+32(FP), SI
	MOVQ         c+40(FP), AX
	VBROADCASTSS (AX), Y8
	VBROADCASTSS 4(AX), Y9
	VBROADCASTSS 8(AX), Y10
	VBROADCASTSS 12(AX), Y11
	XORQ         BX, BX

adamloop:
	VMOVUPS     (SI)(BX*4), Y0
	VMOVUPS     (R8)(BX*4), Y1
	VMOVUPS     (R9)(BX*4), Y2
	VSUBPS      Y1, Y0, Y3
	VFMADD231PS Y9, Y3, Y1
	VMULPS      Y0, Y0, Y4
	VSUBPS      Y2, Y4, Y4
	VFMADD231PS Y10, Y4, Y2
	VMOVUPS     Y1, (R8)(BX*4)
	VMOVUPS     Y2, (R9)(BX*4)
	VSQRTPS     Y2, Y5
	VADDPS      Y11, Y5, Y5
	VMULPS      Y8, Y1, Y6
	VDIVPS      Y5, Y6, Y6
	VMOVUPS     (DI)(BX*4), Y7
	VSUBPS      Y6, Y7, Y7
	VMOVUPS     Y7, (DI)(BX*4)
	ADDQ        $8, BX
	CMPQ        BX, CX
	JLT         adamloop
	UNFLUSH
	VZEROUPPER
	RET

// Draws eight 64-bit numbers with xorshift128+ in Y0 and Y1 (from Y8, Y9 and Y10, Y11), and keeps the state.
#define DRAW4(s1, s0, out) \
	VPADDQ  s0, s1, out  \
	VPSLLQ  $23, s1, Y2  \
	VPXOR   s1, Y2, Y2   \
	VMOVDQA s0, s1       \
	VPSRLQ  $17, Y2, Y3  \
	VPXOR   Y3, Y2, Y2   \
	VPSRLQ  $26, s0, Y3  \
	VPXOR   s0, Y2, Y2   \
	VPXOR   Y3, Y2, s0

// Eight elements: kept where the number is not below the threshold.
#define KEEP8(r, off, n) \
	VPMAXUD   Y12, r, Y5      \
	VPCMPEQD  Y5, r, Y5       \
	VMULPS    off(SI), Y13, Y6 \
	VANDPS    Y5, Y6, Y6      \
	VMOVUPS   Y6, off(DI)     \
	VMOVMSKPS Y5, AX          \
	SHLQ      $n, AX          \
	ORQ       AX, BX

// Sixteen elements: the low halves of the numbers in order, then the high halves.
#define DROP(off, off2, n, n2) \
	DRAW4(Y8, Y10, Y0)        \
	DRAW4(Y9, Y11, Y1)        \
	VSHUFPS $0x88, Y1, Y0, Y4 \
	VPERMQ  $0xD8, Y4, Y4     \
	VSHUFPS $0xDD, Y1, Y0, Y7 \
	VPERMQ  $0xD8, Y7, Y7     \
	KEEP8(Y4, off, n)         \
	KEEP8(Y7, off2, n2)

// func drop8(n int, y, x *float32, mask *uint64, state *[16]uint64, threshold uint32, scale float32)
TEXT ·drop8(SB), NOSPLIT, $0-48
	MOVQ         n+0(FP), CX
	MOVQ         y+8(FP), DI
	MOVQ         x+16(FP), SI
	MOVQ         mask+24(FP), R8
	MOVQ         state+32(FP), R9
	VMOVDQU      (R9), Y8
	VMOVDQU      32(R9), Y9
	VMOVDQU      64(R9), Y10
	VMOVDQU      96(R9), Y11
	VBROADCASTSS threshold+40(FP), Y12
	VBROADCASTSS scale+44(FP), Y13
	SHRQ         $6, CX

droploop:
	XORQ BX, BX
	XORQ AX, AX
	DROP(0, 32, 0, 8)
	DROP(64, 96, 16, 24)
	DROP(128, 160, 32, 40)
	DROP(192, 224, 48, 56)
	MOVQ BX, (R8)
	ADDQ $8, R8
	ADDQ $256, SI
	ADDQ $256, DI
	DECQ CX
	JNZ  droploop
	VMOVDQU Y8, (R9)
	VMOVDQU Y9, 32(R9)
	VMOVDQU Y10, 64(R9)
	VMOVDQU Y11, 96(R9)
	VZEROUPPER
	RET

// func biasReLU8(n int, y, b *float32)
TEXT ·biasReLU8(SB), NOSPLIT, $0-24
	MOVQ   n+0(FP), CX
	MOVQ   y+8(FP), DI
	MOVQ   b+16(FP), SI
	VXORPS Y2, Y2, Y2
	XORQ   BX, BX

biasloop:
	VMOVUPS (DI)(BX*4), Y0
	VADDPS  (SI)(BX*4), Y0, Y0
	VMAXPS  Y0, Y2, Y0
	VMOVUPS Y0, (DI)(BX*4)
	ADDQ    $8, BX
	CMPQ    BX, CX
	JLT     biasloop
	VZEROUPPER
	RET

// func reluBack8(n int, d, y *float32)
TEXT ·reluBack8(SB), NOSPLIT, $0-24
	MOVQ   n+0(FP), CX
	MOVQ   d+8(FP), DI
	MOVQ   y+16(FP), SI
	VXORPS Y2, Y2, Y2
	XORQ   BX, BX

backloop:
	VMOVUPS (SI)(BX*4), Y0
	VCMPPS  $14, Y2, Y0, Y0
	VANDPS  (DI)(BX*4), Y0, Y1
	VMOVUPS Y1, (DI)(BX*4)
	ADDQ    $8, BX
	CMPQ    BX, CX
	JLT     backloop
	VZEROUPPER
	RET

// func add8(n int, y, x *float32)
TEXT ·add8(SB), NOSPLIT, $0-24
	MOVQ n+0(FP), CX
	MOVQ y+8(FP), DI
	MOVQ x+16(FP), SI
	XORQ BX, BX

addloop:
	VMOVUPS (DI)(BX*4), Y0
	VADDPS  (SI)(BX*4), Y0, Y0
	VMOVUPS Y0, (DI)(BX*4)
	ADDQ    $8, BX
	CMPQ    BX, CX
	JLT     addloop
	VZEROUPPER
	RET

DATA ·bits<>+0(SB)/8, $0x0000000200000001
DATA ·bits<>+8(SB)/8, $0x0000000800000004
DATA ·bits<>+16(SB)/8, $0x0000002000000010
DATA ·bits<>+24(SB)/8, $0x0000008000000040
GLOBL ·bits<>(SB), RODATA|NOPTR, $32

// func masked8(n int, y, x *float32, mask *uint64, scale float32)
TEXT ·masked8(SB), NOSPLIT, $0-36
	MOVQ         n+0(FP), CX
	MOVQ         y+8(FP), DI
	MOVQ         x+16(FP), SI
	MOVQ         mask+24(FP), R8
	VBROADCASTSS scale+32(FP), Y2
	VMOVDQU      ·bits<>(SB), Y3
	XORQ         BX, BX

maskloop:
	VPBROADCASTB (R8), Y4
	VPAND        Y3, Y4, Y4
	VPCMPEQD     Y3, Y4, Y4
	VMULPS       (SI)(BX*4), Y2, Y0
	VANDPS       Y4, Y0, Y0
	VMOVUPS      Y0, (DI)(BX*4)
	INCQ         R8
	ADDQ         $8, BX
	CMPQ         BX, CX
	JLT          maskloop
	VZEROUPPER
	RET

// func fromBytes8(n int, dst *float32, src *uint8, scale float32)
TEXT ·fromBytes8(SB), NOSPLIT, $0-28
	MOVQ         n+0(FP), CX
	MOVQ         dst+8(FP), DI
	MOVQ         src+16(FP), SI
	VBROADCASTSS scale+24(FP), Y2
	XORQ         BX, BX

bytesloop:
	VPMOVZXBD (SI)(BX*1), Y0
	VCVTDQ2PS Y0, Y0
	VDIVPS    Y2, Y0, Y0
	VMOVUPS   Y0, (DI)(BX*4)
	ADDQ      $8, BX
	CMPQ      BX, CX
	JLT       bytesloop
	VZEROUPPER
	RET

// Four columns of eight rows, from byte off of the rows on, become four rows.
#define TURN4(off) \
	VMOVUPS     off(SI), X0             \
	VINSERTF128 $1, off(R10), Y0, Y0    \
	VMOVUPS     off(SI)(R8*1), X1       \
	VINSERTF128 $1, off(R10)(R8*1), Y1, Y1 \
	VMOVUPS     off(SI)(R8*2), X2       \
	VINSERTF128 $1, off(R10)(R8*2), Y2, Y2 \
	VMOVUPS     off(SI)(R11*1), X3      \
	VINSERTF128 $1, off(R10)(R11*1), Y3, Y3 \
	VUNPCKLPS   Y1, Y0, Y4  \
	VUNPCKHPS   Y1, Y0, Y5  \
	VUNPCKLPS   Y3, Y2, Y6  \
	VUNPCKHPS   Y3, Y2, Y7  \
	VUNPCKLPD   Y6, Y4, Y0  \
	VUNPCKHPD   Y6, Y4, Y1  \
	VUNPCKLPD   Y7, Y5, Y2  \
	VUNPCKHPD   Y7, Y5, Y3  \
	VMOVUPS     Y0, (DX)        \
	VMOVUPS     Y1, (DX)(R9*1)  \
	VMOVUPS     Y2, (DX)(R9*2)  \
	VMOVUPS     Y3, (DX)(R12*1)

// func turn8(n int, src *float32, lds int, dst *float32, ldd int)
// Transposes n blocks of 8×8, below each other in src and beside each other in dst; rows are lds and ldd bytes apart.
TEXT ·turn8(SB), NOSPLIT, $0-40
	MOVQ n+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ lds+16(FP), R8
	MOVQ dst+24(FP), DI
	MOVQ ldd+32(FP), R9
	LEAQ (R8)(R8*2), R11
	LEAQ (R9)(R9*2), R12

turnloop:
	LEAQ (SI)(R8*4), R10
	MOVQ DI, DX
	TURN4(0)
	LEAQ (DI)(R9*4), DX
	TURN4(16)
	LEAQ (SI)(R8*8), SI
	ADDQ $32, DI
	DECQ CX
	JNZ  turnloop
	VZEROUPPER
	RET
