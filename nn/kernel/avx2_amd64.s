#include "textflag.h"

#define ROW2(off0, off1, c0, c1, c2, c3) \
	VBROADCASTSS off0(SI), Y14   \
	VBROADCASTSS off1(SI), Y15   \
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

// func tile6x16(k int, a, b, c *float32, ldc int, add bool)
// 12 accumulators in Y0-Y11, two vectors of B in Y12-Y13, broadcasts of A in Y14-Y15.
TEXT ·tile6x16(SB), NOSPLIT, $0-41
	MOVQ   k+0(FP), CX
	MOVQ   a+8(FP), SI
	MOVQ   b+16(FP), DI
	MOVQ   c+24(FP), DX
	MOVQ   ldc+32(FP), R8
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

tileloop:
	VMOVUPS (DI), Y12
	VMOVUPS 32(DI), Y13
	ROW2(0, 4, Y0, Y1, Y2, Y3)
	ROW2(8, 12, Y4, Y5, Y6, Y7)
	ROW2(16, 20, Y8, Y9, Y10, Y11)
	ADDQ $24, SI
	ADDQ $64, DI
	DECQ CX
	JNZ  tileloop

	MOVBLZX add+40(FP), AX
	TESTB   AL, AL
	JZ      tilestore
	MOVQ    DX, BX
	ADDROW(Y0, Y1)
	ADDROW(Y2, Y3)
	ADDROW(Y4, Y5)
	ADDROW(Y6, Y7)
	ADDROW(Y8, Y9)
	ADDROW(Y10, Y11)

tilestore:
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	VZEROUPPER
	RET

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

// func adam8(n int, p, m, v, grad *float32, c *Adam)
TEXT ·adam8(SB), NOSPLIT, $0-48
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
	VZEROUPPER
	RET
