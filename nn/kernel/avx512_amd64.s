#include "textflag.h"

// func row32(k int, a, b, c *float32, add bool)
// Four depths at a time into eight accumulators, so that no addition waits for the one before.
TEXT ·row32(SB), NOSPLIT, $0-33
	MOVQ   k+0(FP), CX
	MOVQ   a+8(FP), SI
	MOVQ   b+16(FP), DI
	MOVQ   c+24(FP), DX
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	VPXORQ Z2, Z2, Z2
	VPXORQ Z3, Z3, Z3
	VPXORQ Z4, Z4, Z4
	VPXORQ Z5, Z5, Z5
	VPXORQ Z6, Z6, Z6
	VPXORQ Z7, Z7, Z7
	MOVQ   CX, R9
	SHRQ   $2, R9
	JZ     rowtail

rowloop:
	VBROADCASTSS (SI), Z8
	VBROADCASTSS 4(SI), Z9
	VBROADCASTSS 8(SI), Z10
	VBROADCASTSS 12(SI), Z11
	VFMADD231PS  (DI), Z8, Z0
	VFMADD231PS  64(DI), Z8, Z1
	VFMADD231PS  128(DI), Z9, Z2
	VFMADD231PS  192(DI), Z9, Z3
	VFMADD231PS  256(DI), Z10, Z4
	VFMADD231PS  320(DI), Z10, Z5
	VFMADD231PS  384(DI), Z11, Z6
	VFMADD231PS  448(DI), Z11, Z7
	PREFETCHT0   2048(DI)
	PREFETCHT0   2112(DI)
	PREFETCHT0   2176(DI)
	PREFETCHT0   2240(DI)
	PREFETCHT0   2304(DI)
	PREFETCHT0   2368(DI)
	PREFETCHT0   2432(DI)
	PREFETCHT0   2496(DI)
	ADDQ         $16, SI
	ADDQ         $512, DI
	DECQ         R9
	JNZ          rowloop

rowtail:
	ANDQ $3, CX
	JZ   rowsum

rowtailloop:
	VBROADCASTSS (SI), Z8
	VFMADD231PS  (DI), Z8, Z0
	VFMADD231PS  64(DI), Z8, Z1
	ADDQ         $4, SI
	ADDQ         $128, DI
	DECQ         CX
	JNZ          rowtailloop

rowsum:
	VADDPS  Z2, Z0, Z0
	VADDPS  Z3, Z1, Z1
	VADDPS  Z6, Z4, Z4
	VADDPS  Z7, Z5, Z5
	VADDPS  Z4, Z0, Z0
	VADDPS  Z5, Z1, Z1
	MOVBLZX add+32(FP), AX
	TESTB   AL, AL
	JZ      rowstore
	VADDPS  (DX), Z0, Z0
	VADDPS  64(DX), Z1, Z1

rowstore:
	VMOVUPS Z0, (DX)
	VMOVUPS Z1, 64(DX)
	VZEROUPPER
	RET

// Adam's averages of a weight whose gradient stays zero shrink for ever. Below 1e-38 the processor is a hundred times
// slower, so such numbers count as zero here (MXCSR: flush to zero, denormals are zero).
#define FLUSH \
	STMXCSR mxcsr-4(SP)      \
	MOVL    mxcsr-4(SP), AX  \
	ORL     $0x8040, AX      \
	MOVL    AX, flush-8(SP)  \
	LDMXCSR flush-8(SP)

#define UNFLUSH \
	LDMXCSR mxcsr-4(SP)

// func adam16(n int, p, m, v, grad *float32, c *Adam)
TEXT ·adam16(SB), NOSPLIT, $8-48
	FLUSH
	MOVQ         n+0(FP), CX
	MOVQ         p+8(FP), DI
	MOVQ         m+16(FP), R8
	MOVQ         v+24(FP), R9
	MOVQ         grad+32(FP), SI
	MOVQ         c+40(FP), AX
	VBROADCASTSS (AX), Z16
	VBROADCASTSS 4(AX), Z17
	VBROADCASTSS 8(AX), Z18
	VBROADCASTSS 12(AX), Z19
	MOVL         $0x5f3759df, AX
	VPBROADCASTD AX, Z20
	MOVL         $0x3fc00000, AX
	VPBROADCASTD AX, Z21
	MOVL         $0x3f000000, AX
	VPBROADCASTD AX, Z22
	XORQ         BX, BX

adamloop:
	VMOVUPS     (SI)(BX*4), Z0
	VMOVUPS     (R8)(BX*4), Z1
	VMOVUPS     (R9)(BX*4), Z2
	VSUBPS      Z1, Z0, Z3      // g-m
	VFMADD231PS Z17, Z3, Z1     
	VMULPS      Z0, Z0, Z4
	VSUBPS      Z2, Z4, Z4      
	VFMADD231PS Z18, Z4, Z2
	VMOVUPS     Z1, (R8)(BX*4)
	VMOVUPS     Z2, (R9)(BX*4)
	// The divider is the bottleneck, so the root is v/√v by Newton's iteration: y ← y(3 - vy²)/2 from a guess out of the
	// exponent. It is the same on every processor, unlike the estimates that processors offer.
	VMULPS       Z22, Z2, Z8
	VPSRLD       $1, Z2, Z5
	VPSUBD       Z5, Z20, Z5
	VMULPS       Z5, Z8, Z9
	VFNMADD213PS Z21, Z5, Z9
	VMULPS       Z9, Z5, Z5
	VMULPS       Z5, Z8, Z9
	VFNMADD213PS Z21, Z5, Z9
	VMULPS       Z9, Z5, Z5
	VMULPS       Z5, Z8, Z9
	VFNMADD213PS Z21, Z5, Z9
	VMULPS       Z9, Z5, Z5
	VFMADD213PS  Z19, Z2, Z5
	VMULPS       Z16, Z1, Z6
	VDIVPS      Z5, Z6, Z6
	VMOVUPS     (DI)(BX*4), Z7
	VSUBPS      Z6, Z7, Z7
	VMOVUPS     Z7, (DI)(BX*4)
	ADDQ        $16, BX
	CMPQ        BX, CX
	JLT         adamloop
	UNFLUSH
	VZEROUPPER
	RET

// Draws eight 64-bit numbers with xorshift128+ in Z0 (from Z10, Z11), and keeps the state.
#define DRAW \
	VPADDQ  Z11, Z10, Z0  \
	VPSLLQ  $23, Z10, Z1  \
	VPXORQ  Z10, Z1, Z1   \
	VMOVDQA64 Z11, Z10    \
	VPSRLQ  $17, Z1, Z2   \
	VPXORQ  Z2, Z1, Z1    \
	VPSRLQ  $26, Z11, Z2  \
	VPXORQ  Z11, Z1, Z1   \
	VPXORQ  Z2, Z1, Z11

// Sixteen elements: the low halves of the numbers in order, then the high halves.
#define DROP(off, n) \
	DRAW                               \
	VPMOVQD  Z0, Y3                    \
	VPSRLQ   $32, Z0, Z0               \
	VPMOVQD  Z0, Y4                    \
	VINSERTI64X4 $1, Y4, Z3, Z3        \
	VPCMPUD  $5, Z12, Z3, K1           \
	VMOVUPS  off(SI), Z5               \
	VMULPS.Z Z13, Z5, K1, Z5           \
	VMOVUPS  Z5, off(DI)               \
	KMOVW    K1, AX                    \
	SHLQ     $n, AX                    \
	ORQ      AX, BX

// func drop16(n int, y, x *float32, mask *uint64, state *[16]uint64, threshold uint32, scale float32)
TEXT ·drop16(SB), NOSPLIT, $0-48
	MOVQ         n+0(FP), CX
	MOVQ         y+8(FP), DI
	MOVQ         x+16(FP), SI
	MOVQ         mask+24(FP), R8
	MOVQ         state+32(FP), R9
	VMOVDQU64    (R9), Z10
	VMOVDQU64    64(R9), Z11
	MOVL         threshold+40(FP), AX
	VPBROADCASTD AX, Z12
	VBROADCASTSS scale+44(FP), Z13
	SHRQ         $6, CX

droploop:
	XORQ BX, BX
	XORQ AX, AX
	DROP(0, 0)
	DROP(64, 16)
	DROP(128, 32)
	DROP(192, 48)
	MOVQ BX, (R8)
	ADDQ $8, R8
	ADDQ $256, SI
	ADDQ $256, DI
	DECQ CX
	JNZ  droploop
	VMOVDQU64 Z10, (R9)
	VMOVDQU64 Z11, 64(R9)
	VZEROUPPER
	RET

// func biasReLU16(n int, y, b *float32)
TEXT ·biasReLU16(SB), NOSPLIT, $0-24
	MOVQ   n+0(FP), CX
	MOVQ   y+8(FP), DI
	MOVQ   b+16(FP), SI
	VPXORQ Z2, Z2, Z2
	XORQ   BX, BX

biasloop:
	VMOVUPS (DI)(BX*4), Z0
	VADDPS  (SI)(BX*4), Z0, Z0
	VMAXPS  Z0, Z2, Z0
	VMOVUPS Z0, (DI)(BX*4)
	ADDQ    $16, BX
	CMPQ    BX, CX
	JLT     biasloop
	VZEROUPPER
	RET

// func reluBack16(n int, d, y *float32)
TEXT ·reluBack16(SB), NOSPLIT, $0-24
	MOVQ   n+0(FP), CX
	MOVQ   d+8(FP), DI
	MOVQ   y+16(FP), SI
	VPXORQ Z2, Z2, Z2
	XORQ   BX, BX

backloop:
	VMOVUPS   (SI)(BX*4), Z0
	VCMPPS    $14, Z2, Z0, K1
	VMOVUPS.Z (DI)(BX*4), K1, Z1
	VMOVUPS   Z1, (DI)(BX*4)
	ADDQ      $16, BX
	CMPQ      BX, CX
	JLT       backloop
	VZEROUPPER
	RET

// func add16(n int, y, x *float32)
TEXT ·add16(SB), NOSPLIT, $0-24
	MOVQ n+0(FP), CX
	MOVQ y+8(FP), DI
	MOVQ x+16(FP), SI
	XORQ BX, BX

addloop:
	VMOVUPS (DI)(BX*4), Z0
	VADDPS  (SI)(BX*4), Z0, Z0
	VMOVUPS Z0, (DI)(BX*4)
	ADDQ    $16, BX
	CMPQ    BX, CX
	JLT     addloop
	VZEROUPPER
	RET

// func masked16(n int, y, x *float32, mask *uint64, scale float32)
TEXT ·masked16(SB), NOSPLIT, $0-36
	MOVQ         n+0(FP), CX
	MOVQ         y+8(FP), DI
	MOVQ         x+16(FP), SI
	MOVQ         mask+24(FP), R8
	VBROADCASTSS scale+32(FP), Z2
	XORQ         BX, BX

maskloop:
	MOVWLZX  (R8), AX
	KMOVW    AX, K1
	VMOVUPS  (SI)(BX*4), Z0
	VMULPS.Z Z2, Z0, K1, Z0
	VMOVUPS  Z0, (DI)(BX*4)
	ADDQ     $2, R8
	ADDQ     $16, BX
	CMPQ     BX, CX
	JLT      maskloop
	VZEROUPPER
	RET

// func fromBytes16(n int, dst *float32, src *uint8, scale float32)
TEXT ·fromBytes16(SB), NOSPLIT, $0-28
	MOVQ         n+0(FP), CX
	MOVQ         dst+8(FP), DI
	MOVQ         src+16(FP), SI
	VBROADCASTSS scale+24(FP), Z2
	XORQ         BX, BX

bytesloop:
	VPMOVZXBD (SI)(BX*1), Z0
	VCVTDQ2PS Z0, Z0
	VDIVPS    Z2, Z0, Z0
	VMOVUPS   Z0, (DI)(BX*4)
	ADDQ      $16, BX
	CMPQ      BX, CX
	JLT       bytesloop
	VZEROUPPER
	RET
