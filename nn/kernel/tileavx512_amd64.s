#include "textflag.h"

// The tiles of AVX-512: 12, 8 or 4 rows by 32 columns of results stay in registers over the whole depth. A is read where
// it lies, a row's elements cs bytes apart and the rows rs bytes apart; B comes from a panel, which the first tile fetches
// 16 depths before their turn.

// One row: broadcast an element of A, multiply it into two vectors of B.
#define ROW(at, t, c0, c1) \
	VBROADCASTSS at, t       \
	VFMADD231PS  Z24, t, c0  \
	VFMADD231PS  Z25, t, c1

#define ADDROW(c0, c1) \
	VADDPS (BX), c0, c0   \
	VADDPS 64(BX), c1, c1 \
	ADDQ   R8, BX

#define STORE(c0, c1) \
	VMOVUPS c0, (DX)   \
	VMOVUPS c1, 64(DX) \
	ADDQ    R8, DX

#define ZERO4(a, b, c, d) \
	VPXORQ a, a, a \
	VPXORQ b, b, b \
	VPXORQ c, c, c \
	VPXORQ d, d, d

#define ARGS \
	MOVQ k+0(FP), CX    \
	MOVQ a+8(FP), SI    \
	MOVQ rs+16(FP), R9  \
	MOVQ cs+24(FP), R13 \
	MOVQ b+32(FP), DI   \
	MOVQ c+40(FP), DX   \
	MOVQ ldc+48(FP), R8 \
	LEAQ (R9)(R9*2), AX \
	LEAQ (SI)(AX*1), R10

// func tile12x32(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)
TEXT ·tile12x32(SB), NOSPLIT, $0-57
	ARGS
	LEAQ (R10)(AX*1), R11
	LEAQ (R11)(AX*1), R12
	ZERO4(Z0, Z1, Z2, Z3)
	ZERO4(Z4, Z5, Z6, Z7)
	ZERO4(Z8, Z9, Z10, Z11)
	ZERO4(Z12, Z13, Z14, Z15)
	ZERO4(Z16, Z17, Z18, Z19)
	ZERO4(Z20, Z21, Z22, Z23)

loop:
	VMOVUPS (DI), Z24
	VMOVUPS 64(DI), Z25
	PREFETCHT0 2048(DI)
	PREFETCHT0 2112(DI)
	ROW((SI), Z26, Z0, Z1)
	ROW((SI)(R9*1), Z27, Z2, Z3)
	ROW((SI)(R9*2), Z28, Z4, Z5)
	ROW((R10), Z29, Z6, Z7)
	ROW((R10)(R9*1), Z30, Z8, Z9)
	ROW((R10)(R9*2), Z31, Z10, Z11)
	ROW((R11), Z26, Z12, Z13)
	ROW((R11)(R9*1), Z27, Z14, Z15)
	ROW((R11)(R9*2), Z28, Z16, Z17)
	ROW((R12), Z29, Z18, Z19)
	ROW((R12)(R9*1), Z30, Z20, Z21)
	ROW((R12)(R9*2), Z31, Z22, Z23)
	ADDQ R13, SI
	ADDQ R13, R10
	ADDQ R13, R11
	ADDQ R13, R12
	ADDQ $128, DI
	DECQ CX
	JNZ  loop

	MOVBLZX add+56(FP), AX
	TESTB   AL, AL
	JZ      store
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

store:
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

// func tile8x32(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)
TEXT ·tile8x32(SB), NOSPLIT, $0-57
	ARGS
	LEAQ (R10)(AX*1), R11
	ZERO4(Z0, Z1, Z2, Z3)
	ZERO4(Z4, Z5, Z6, Z7)
	ZERO4(Z8, Z9, Z10, Z11)
	ZERO4(Z12, Z13, Z14, Z15)

loop:
	VMOVUPS (DI), Z24
	VMOVUPS 64(DI), Z25
	PREFETCHT0 2048(DI)
	PREFETCHT0 2112(DI)
	ROW((SI), Z26, Z0, Z1)
	ROW((SI)(R9*1), Z27, Z2, Z3)
	ROW((SI)(R9*2), Z28, Z4, Z5)
	ROW((R10), Z29, Z6, Z7)
	ROW((R10)(R9*1), Z30, Z8, Z9)
	ROW((R10)(R9*2), Z31, Z10, Z11)
	ROW((R11), Z26, Z12, Z13)
	ROW((R11)(R9*1), Z27, Z14, Z15)
	ADDQ R13, SI
	ADDQ R13, R10
	ADDQ R13, R11
	ADDQ $128, DI
	DECQ CX
	JNZ  loop

	MOVBLZX add+56(FP), AX
	TESTB   AL, AL
	JZ      store
	MOVQ    DX, BX
	ADDROW(Z0, Z1)
	ADDROW(Z2, Z3)
	ADDROW(Z4, Z5)
	ADDROW(Z6, Z7)
	ADDROW(Z8, Z9)
	ADDROW(Z10, Z11)
	ADDROW(Z12, Z13)
	ADDROW(Z14, Z15)

store:
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

// func tile4x32(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)
TEXT ·tile4x32(SB), NOSPLIT, $0-57
	ARGS
	ZERO4(Z0, Z1, Z2, Z3)
	ZERO4(Z4, Z5, Z6, Z7)

loop:
	VMOVUPS (DI), Z24
	VMOVUPS 64(DI), Z25
	PREFETCHT0 2048(DI)
	PREFETCHT0 2112(DI)
	ROW((SI), Z26, Z0, Z1)
	ROW((SI)(R9*1), Z27, Z2, Z3)
	ROW((SI)(R9*2), Z28, Z4, Z5)
	ROW((R10), Z29, Z6, Z7)
	ADDQ R13, SI
	ADDQ R13, R10
	ADDQ $128, DI
	DECQ CX
	JNZ  loop

	MOVBLZX add+56(FP), AX
	TESTB   AL, AL
	JZ      store
	MOVQ    DX, BX
	ADDROW(Z0, Z1)
	ADDROW(Z2, Z3)
	ADDROW(Z4, Z5)
	ADDROW(Z6, Z7)

store:
	STORE(Z0, Z1)
	STORE(Z2, Z3)
	STORE(Z4, Z5)
	STORE(Z6, Z7)
	VZEROUPPER
	RET
