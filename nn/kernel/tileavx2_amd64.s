#include "textflag.h"

// The tiles of AVX2: 6 or 4 rows by 16 columns. A is read where it lies, a row's elements cs bytes apart and the rows rs
// bytes apart; B comes from a panel.

#define ROW2(at0, at1, c0, c1, c2, c3) \
	VBROADCASTSS at0, Y14        \
	VBROADCASTSS at1, Y15        \
	VFMADD231PS  Y12, Y14, c0    \
	VFMADD231PS  Y13, Y14, c1    \
	VFMADD231PS  Y12, Y15, c2    \
	VFMADD231PS  Y13, Y15, c3

#define ADDROW(c0, c1) \
	VADDPS (BX), c0, c0   \
	VADDPS 32(BX), c1, c1 \
	ADDQ   R8, BX

#define STORE(c0, c1) \
	VMOVUPS c0, (DX)   \
	VMOVUPS c1, 32(DX) \
	ADDQ    R8, DX

// func tile6x16(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)
TEXT ·tile6x16(SB), NOSPLIT, $0-57
	MOVQ k+0(FP), CX
	MOVQ a+8(FP), SI
	MOVQ rs+16(FP), R9
	MOVQ cs+24(FP), R13
	MOVQ b+32(FP), DI
	MOVQ c+40(FP), DX
	MOVQ ldc+48(FP), R8
	LEAQ (R9)(R9*2), AX
	LEAQ (SI)(AX*1), R10
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11

loop:
	VMOVUPS (DI), Y12
	VMOVUPS 32(DI), Y13
	PREFETCHT0 1024(DI)
	ROW2((SI), (SI)(R9*1), Y0, Y1, Y2, Y3)
	ROW2((SI)(R9*2), (R10), Y4, Y5, Y6, Y7)
	ROW2((R10)(R9*1), (R10)(R9*2), Y8, Y9, Y10, Y11)
	ADDQ R13, SI
	ADDQ R13, R10
	ADDQ $64, DI
	DECQ CX
	JNZ  loop

	MOVBLZX add+56(FP), AX
	TESTB   AL, AL
	JZ      store
	MOVQ    DX, BX
	ADDROW(Y0, Y1)
	ADDROW(Y2, Y3)
	ADDROW(Y4, Y5)
	ADDROW(Y6, Y7)
	ADDROW(Y8, Y9)
	ADDROW(Y10, Y11)

store:
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	VZEROUPPER
	RET

// func tile4x16(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)
TEXT ·tile4x16(SB), NOSPLIT, $0-57
	MOVQ k+0(FP), CX
	MOVQ a+8(FP), SI
	MOVQ rs+16(FP), R9
	MOVQ cs+24(FP), R13
	MOVQ b+32(FP), DI
	MOVQ c+40(FP), DX
	MOVQ ldc+48(FP), R8
	LEAQ (R9)(R9*2), AX
	LEAQ (SI)(AX*1), R10
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7

loop:
	VMOVUPS (DI), Y12
	VMOVUPS 32(DI), Y13
	PREFETCHT0 1024(DI)
	ROW2((SI), (SI)(R9*1), Y0, Y1, Y2, Y3)
	ROW2((SI)(R9*2), (R10), Y4, Y5, Y6, Y7)
	ADDQ R13, SI
	ADDQ R13, R10
	ADDQ $64, DI
	DECQ CX
	JNZ  loop

	MOVBLZX add+56(FP), AX
	TESTB   AL, AL
	JZ      store
	MOVQ    DX, BX
	ADDROW(Y0, Y1)
	ADDROW(Y2, Y3)
	ADDROW(Y4, Y5)
	ADDROW(Y6, Y7)

store:
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	VZEROUPPER
	RET
