#include "textflag.h"

// One row of the 12×32 tile: broadcast an element of A, multiply it into two vectors of B.
#define ROW(off, t, c0, c1) \
	VBROADCASTSS off(SI), t    \
	VFMADD231PS  Z24, t, c0    \
	VFMADD231PS  Z25, t, c1

#define ADDROW(c0, c1) \
	VADDPS (BX), c0, c0   \
	VADDPS 64(BX), c1, c1 \
	ADDQ   R8, BX

#define STORE(c0, c1) \
	VMOVUPS c0, (DX)   \
	VMOVUPS c1, 64(DX) \
	ADDQ    R8, DX

// func tile12x32(k int, a, b, c *float32, ldc int, add bool)
// 24 accumulators in Z0-Z23, two vectors of B in Z24-Z25, broadcasts of A in Z26-Z31.
TEXT ·tile12x32(SB), NOSPLIT, $0-41
	MOVQ k+0(FP), CX
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DI
	MOVQ c+24(FP), DX
	MOVQ ldc+32(FP), R8
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	VPXORQ Z2, Z2, Z2
	VPXORQ Z3, Z3, Z3
	VPXORQ Z4, Z4, Z4
	VPXORQ Z5, Z5, Z5
	VPXORQ Z6, Z6, Z6
	VPXORQ Z7, Z7, Z7
	VPXORQ Z8, Z8, Z8
	VPXORQ Z9, Z9, Z9
	VPXORQ Z10, Z10, Z10
	VPXORQ Z11, Z11, Z11
	VPXORQ Z12, Z12, Z12
	VPXORQ Z13, Z13, Z13
	VPXORQ Z14, Z14, Z14
	VPXORQ Z15, Z15, Z15
	VPXORQ Z16, Z16, Z16
	VPXORQ Z17, Z17, Z17
	VPXORQ Z18, Z18, Z18
	VPXORQ Z19, Z19, Z19
	VPXORQ Z20, Z20, Z20
	VPXORQ Z21, Z21, Z21
	VPXORQ Z22, Z22, Z22
	VPXORQ Z23, Z23, Z23

tileloop:
	VMOVUPS (DI), Z24
	VMOVUPS 64(DI), Z25
	ROW(0, Z26, Z0, Z1)
	ROW(4, Z27, Z2, Z3)
	ROW(8, Z28, Z4, Z5)
	ROW(12, Z29, Z6, Z7)
	ROW(16, Z30, Z8, Z9)
	ROW(20, Z31, Z10, Z11)
	ROW(24, Z26, Z12, Z13)
	ROW(28, Z27, Z14, Z15)
	ROW(32, Z28, Z16, Z17)
	ROW(36, Z29, Z18, Z19)
	ROW(40, Z30, Z20, Z21)
	ROW(44, Z31, Z22, Z23)
	ADDQ $48, SI
	ADDQ $128, DI
	DECQ CX
	JNZ  tileloop

	MOVBLZX add+40(FP), AX
	TESTB   AL, AL
	JZ      tilestore
	MOVQ    DX, BX
	ADDROW(Z0, Z1)
	ADDROW(Z2, Z3)
	ADDROW(Z4, Z5)
	ADDROW(Z6, Z7)
	ADDROW(Z8, Z9)
	ADDROW(Z10, Z11)
	ADDROW(Z12, Z13)
	ADDROW(Z14, Z15)
	ADDROW(Z16, Z17)
	ADDROW(Z18, Z19)
	ADDROW(Z20, Z21)
	ADDROW(Z22, Z23)

tilestore:
	STORE(Z0, Z1)
	STORE(Z2, Z3)
	STORE(Z4, Z5)
	STORE(Z6, Z7)
	STORE(Z8, Z9)
	STORE(Z10, Z11)
	STORE(Z12, Z13)
	STORE(Z14, Z15)
	STORE(Z16, Z17)
	STORE(Z18, Z19)
	STORE(Z20, Z21)
	STORE(Z22, Z23)
	VZEROUPPER
	RET

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

// func adam16(n int, p, m, v, grad *float32, c *Adam)
TEXT ·adam16(SB), NOSPLIT, $0-48
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
	VSQRTPS     Z2, Z5
	VADDPS      Z19, Z5, Z5
	VMULPS      Z16, Z1, Z6
	VDIVPS      Z5, Z6, Z6
	VMOVUPS     (DI)(BX*4), Z7
	VSUBPS      Z6, Z7, Z7
	VMOVUPS     Z7, (DI)(BX*4)
	ADDQ        $16, BX
	CMPQ        BX, CX
	JLT         adamloop
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
	VMAXPS  Z2, Z0, Z0
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
