#include "textflag.h"

// One row of a panel of 16 columns: its value times its two vectors.
#define SPARSEROW(i, v, c0, c1) \
	MOVL         (4*i)(R8), AX            \
	VBROADCASTSS (4*i)(SI), v             \
	MOVL         (4*i+64)(R8), BX         \
	VFMADD231PS  (DI)(AX*1), v, c0        \
	VFMADD231PS  32(DI)(AX*1), v, c1      \
	PREFETCHT0   (DI)(BX*1)

// func sparse16(n int, offsets *uint32, values, b, c *float32)
TEXT ·sparse16(SB), NOSPLIT, $0-40
	MOVQ   n+0(FP), CX
	MOVQ   offsets+8(FP), R8
	MOVQ   values+16(FP), SI
	MOVQ   b+24(FP), DI
	MOVQ   c+32(FP), DX
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
	JZ     tail

loop:
	SPARSEROW(0, Y8, Y0, Y1)
	SPARSEROW(1, Y9, Y2, Y3)
	SPARSEROW(2, Y10, Y4, Y5)
	SPARSEROW(3, Y11, Y6, Y7)
	ADDQ $16, R8
	ADDQ $16, SI
	DECQ R9
	JNZ  loop

tail:
	ANDQ $3, CX
	JZ   sum

tailloop:
	MOVL         (R8), AX
	VBROADCASTSS (SI), Y8
	VFMADD231PS  (DI)(AX*1), Y8, Y0
	VFMADD231PS  32(DI)(AX*1), Y8, Y1
	ADDQ         $4, R8
	ADDQ         $4, SI
	DECQ         CX
	JNZ          tailloop

sum:
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
