#include "textflag.h"

// One row of a panel of 32 columns: its value times its two vectors.
#define SPARSEROW(i, v, c0, c1) \
	MOVL         (4*i)(R8), AX            \
	VBROADCASTSS (4*i)(SI), v             \
	MOVL         (4*i+64)(R8), BX         \
	VFMADD231PS  (DI)(AX*1), v, c0        \
	VFMADD231PS  64(DI)(AX*1), v, c1      \
	PREFETCHT0   (DI)(BX*1)               \
	PREFETCHT0   64(DI)(BX*1)

// func sparse32(n int, offsets *uint32, values, b, c *float32)
TEXT ·sparse32(SB), NOSPLIT, $0-40
	MOVQ   n+0(FP), CX
	MOVQ   offsets+8(FP), R8
	MOVQ   values+16(FP), SI
	MOVQ   b+24(FP), DI
	MOVQ   c+32(FP), DX
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
	JZ     tail

loop:
	SPARSEROW(0, Z8, Z0, Z1)
	SPARSEROW(1, Z9, Z2, Z3)
	SPARSEROW(2, Z10, Z4, Z5)
	SPARSEROW(3, Z11, Z6, Z7)
	ADDQ $16, R8
	ADDQ $16, SI
	DECQ R9
	JNZ  loop

tail:
	ANDQ $3, CX
	JZ   sum

tailloop:
	MOVL         (R8), AX
	VBROADCASTSS (SI), Z8
	VFMADD231PS  (DI)(AX*1), Z8, Z0
	VFMADD231PS  64(DI)(AX*1), Z8, Z1
	ADDQ         $4, R8
	ADDQ         $4, SI
	DECQ         CX
	JNZ          tailloop

sum:
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
