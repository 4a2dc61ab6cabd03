#include "textflag.h"
#include "go_asm.h"

// Eight tiles of 16 rows by 64 bytes.
DATA ·tiles<>+0(SB)/8, $1
DATA ·tiles<>+8(SB)/8, $0
DATA ·tiles<>+16(SB)/8, $0x0040004000400040
DATA ·tiles<>+24(SB)/8, $0x0040004000400040
DATA ·tiles<>+32(SB)/8, $0
DATA ·tiles<>+40(SB)/8, $0
DATA ·tiles<>+48(SB)/8, $0x1010101010101010
DATA ·tiles<>+56(SB)/8, $0
GLOBL ·tiles<>(SB), RODATA|NOPTR, $64

// The assembler does not know these instructions. T0 to T3 are the results, T4 and T5 rows of A, T6 and T7 columns of B.
#define LDTILECFG_AX BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0x00
#define TILERELEASE BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0xc0
#define TILEZERO(n) BYTE $0xc4; BYTE $0xe2; BYTE $0x7b; BYTE $0x49; BYTE $(0xc0+8*n)

// T4 = (AX)(R9*1), T5 = (BX)(R9*1)
#define LOADA \
	BYTE $0xc4; BYTE $0xa2; BYTE $0x7b; BYTE $0x4b; BYTE $0x24; BYTE $0x08; \
	BYTE $0xc4; BYTE $0xa2; BYTE $0x7b; BYTE $0x4b; BYTE $0x2c; BYTE $0x0b

// T6 = (base)(R13*1), T7 = 64(base)(R13*1); x is 0xa2 for DI, 0x82 for R11 and R12, s says which.
#define LOADB(x, s) \
	BYTE $0xc4; BYTE $x; BYTE $0x7b; BYTE $0x4b; BYTE $0x34; BYTE $s; \
	BYTE $0xc4; BYTE $x; BYTE $0x7b; BYTE $0x4b; BYTE $0x7c; BYTE $s; BYTE $0x40

#define HIGH LOADB(0xa2, 0x2f)
#define MIDDLE LOADB(0x82, 0x2b)
#define LOW LOADB(0x82, 0x2c)

// T0 += T4·T6, T1 += T4·T7, T2 += T5·T6, T3 += T5·T7
#define DOT4 \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5c; BYTE $0xc4; \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5c; BYTE $0xcc; \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5c; BYTE $0xd5; \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5c; BYTE $0xdd

// The same of bytes, unsigned in T4 and T5, signed in T6 and T7.
#define DOT4BYTES \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x49; BYTE $0x5e; BYTE $0xc4; \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x41; BYTE $0x5e; BYTE $0xcc; \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x49; BYTE $0x5e; BYTE $0xd5; \
	BYTE $0xc4; BYTE $0xe2; BYTE $0x41; BYTE $0x5e; BYTE $0xdd

// The results, at (DX)(R8*1) and (BX)(R8*1): p is 0x7b to load and 0x7a to store.
#define RESULTS(p) \
	BYTE $0xc4; BYTE $0xa2; BYTE $p; BYTE $0x4b; BYTE $0x04; BYTE $0x02; \
	BYTE $0xc4; BYTE $0xa2; BYTE $p; BYTE $0x4b; BYTE $0x4c; BYTE $0x02; BYTE $0x40; \
	BYTE $0xc4; BYTE $0xa2; BYTE $p; BYTE $0x4b; BYTE $0x14; BYTE $0x03; \
	BYTE $0xc4; BYTE $0xa2; BYTE $p; BYTE $0x4b; BYTE $0x5c; BYTE $0x03; BYTE $0x40

#define LINES4(off, base) \
	PREFETCHT0 off(base); PREFETCHT0 (off+64)(base); PREFETCHT0 (off+128)(base); PREFETCHT0 (off+192)(base)

// The next chunk of a part of B: 32 lines.
#define AHEADB(base) \
	LINES4(2048, base); LINES4(2304, base); LINES4(2560, base); LINES4(2816, base); \
	LINES4(3072, base); LINES4(3328, base); LINES4(3584, base); LINES4(3840, base)

// The next chunk of 4 rows of a part of A, from R15 on.
#define ROWS4 \
	PREFETCHT0 64(R15); ADDQ R9, R15; PREFETCHT0 64(R15); ADDQ R9, R15; \
	PREFETCHT0 64(R15); ADDQ R9, R15; PREFETCHT0 64(R15); ADDQ R9, R15

#define AHEADA \
	MOVQ AX, R15; ROWS4; ROWS4; ROWS4; ROWS4; ROWS4; ROWS4; ROWS4; ROWS4

// func blocksAMX(work *grid)
// The registers' configuration costs as much as two chunks, so all blocks are computed under one.
TEXT ·blocksAMX(SB), NOSPLIT, $56-8
	LEAQ ·tiles<>(SB), AX
	LDTILECFG_AX
	MOVQ $128, R13
	MOVQ work+0(FP), AX
	MOVQ grid_panels(AX), CX
	MOVQ CX, panels-8(SP)
	MOVQ grid_b(AX), CX
	MOVQ CX, b-16(SP)
	MOVQ grid_c(AX), CX
	MOVQ CX, column-24(SP)
	MOVQ grid_partBytes(AX), CX
	MOVQ CX, part-56(SP)

panel:
	MOVQ work+0(FP), AX
	MOVQ grid_rows(AX), CX
	MOVQ CX, rows-32(SP)
	MOVQ grid_a(AX), CX
	MOVQ CX, a-40(SP)
	MOVQ column-24(SP), CX
	MOVQ CX, c-48(SP)

rows:
	MOVQ work+0(FP), AX
	MOVQ a-40(SP), SI
	MOVQ grid_rowBytes(AX), R9
	MOVQ R9, R10
	SHLQ $4, R10
	ADDQ SI, R10
	MOVQ b-16(SP), DI
	MOVQ grid_panelPart(AX), R11
	LEAQ (DI)(R11*2), R12
	ADDQ DI, R11
	MOVQ c-48(SP), DX
	MOVQ grid_ldcBytes(AX), R8
	MOVQ R8, BX
	SHLQ $4, BX
	ADDQ DX, BX
	MOVQ grid_chunks(AX), CX
	CMPQ grid_add(AX), $0
	JE   zero
	RESULTS(0x7b)
	JMP  loop

zero:
	TILEZERO(0)
	TILEZERO(1)
	TILEZERO(2)
	TILEZERO(3)

loop:
	MOVQ work+0(FP), AX
	CMPQ grid_kind(AX), $1
	JEQ  halves
	JGT  bytes

parts:
	MOVQ SI, AX
	MOVQ R10, BX
	LOADA
	HIGH
	DOT4
	AHEADA
	LOW
	DOT4
	AHEADB(DI)
	MIDDLE
	DOT4
	ADDQ part-56(SP), AX
	ADDQ part-56(SP), BX
	AHEADB(R12)
	LOADA
	DOT4
	AHEADA
	HIGH
	DOT4
	ADDQ part-56(SP), AX
	ADDQ part-56(SP), BX
	AHEADB(R11)
	LOADA
	DOT4
	AHEADA
	ADDQ $64, SI
	ADDQ $64, R10
	ADDQ $2048, DI
	ADDQ $2048, R11
	ADDQ $2048, R12
	DECQ CX
	JNZ  parts
	JMP  done

	// B is of one part.
halves:
	MOVQ SI, AX
	MOVQ R10, BX
	LOADA
	HIGH
	DOT4
	AHEADB(DI)
	ADDQ part-56(SP), AX
	ADDQ part-56(SP), BX
	LOADA
	DOT4
	ADDQ part-56(SP), AX
	ADDQ part-56(SP), BX
	LOADA
	DOT4
	ADDQ $64, SI
	ADDQ $64, R10
	ADDQ $2048, DI
	DECQ CX
	JNZ  halves
	JMP  done

bytes:
	MOVQ SI, AX
	MOVQ R10, BX
	LOADA
	HIGH
	DOT4BYTES
	AHEADB(DI)
	ADDQ $64, SI
	ADDQ $64, R10
	ADDQ $2048, DI
	DECQ CX
	JNZ  bytes

done:
	MOVQ R8, BX
	SHLQ $4, BX
	ADDQ DX, BX
	RESULTS(0x7a)
	SHLQ $5, R8
	ADDQ R8, c-48(SP)
	SHLQ $5, R9
	ADDQ R9, a-40(SP)
	DECQ rows-32(SP)
	JNZ  rows
	MOVQ work+0(FP), AX
	MOVQ grid_panelBytes(AX), CX
	ADDQ CX, b-16(SP)
	ADDQ $128, column-24(SP)
	DECQ panels-8(SP)
	JNZ  panel
	TILERELEASE
	RET

// Splits x in three parts of eight bits each, which add up to it exactly; Z31 keeps the upper half.
#define PARTS(x, high, middle, low) \
	VPANDD Z31, x, high        \
	VSUBPS high, x, low        \
	VPANDD Z31, low, middle    \
	VSUBPS middle, low, low

// func splitRow(n int, src *float32, dst *uint16, partBytes int)
// n is a multiple of 16.
TEXT ·splitRow(SB), NOSPLIT, $0-32
	MOVQ n+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ dst+16(FP), DI
	MOVQ partBytes+24(FP), R9
	LEAQ (DI)(R9*1), R10
	LEAQ (DI)(R9*2), R11
	MOVL $0xffff0000, AX
	VPBROADCASTD AX, Z31
	XORQ BX, BX

rowloop:
	VMOVUPS (SI)(BX*4), Z0
	PARTS(Z0, Z1, Z2, Z3)
	VPSRLD  $16, Z1, Z1
	VPSRLD  $16, Z2, Z2
	VPSRLD  $16, Z3, Z3
	VPMOVDW Z1, (DI)(BX*2)
	VPMOVDW Z2, (R10)(BX*2)
	VPMOVDW Z3, (R11)(BX*2)
	ADDQ    $16, BX
	CMPQ    BX, CX
	JLT     rowloop
	VZEROUPPER
	RET

// Sixteen columns of two rows: the parts of an element of the first row below those of the second.
#define PAIR(off) \
	VMOVUPS off(SI), Z0      \
	VMOVUPS off(R12), Z4     \
	PARTS(Z0, Z1, Z2, Z3)    \
	PARTS(Z4, Z5, Z6, Z7)    \
	VPSRLD  $16, Z1, Z1      \
	VPSRLD  $16, Z2, Z2      \
	VPSRLD  $16, Z3, Z3      \
	VPANDD  Z31, Z7, Z7      \
	VPORD   Z5, Z1, Z1       \
	VPORD   Z6, Z2, Z2       \
	VPORD   Z7, Z3, Z3       \
	VMOVUPS Z1, off(DI)      \
	VMOVUPS Z2, off(R10)     \
	VMOVUPS Z3, off(R11)

// func splitPairs(n int, src *float32, ldBytes int, dst *uint16, partBytes int)
// n pairs of rows of 32.
TEXT ·splitPairs(SB), NOSPLIT, $0-40
	MOVQ n+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ ldBytes+16(FP), R8
	MOVQ dst+24(FP), DI
	MOVQ partBytes+32(FP), R9
	LEAQ (SI)(R8*1), R12
	LEAQ (DI)(R9*1), R10
	LEAQ (DI)(R9*2), R11
	MOVL $0xffff0000, AX
	VPBROADCASTD AX, Z31

pairloop:
	PAIR(0)
	PAIR(64)
	LEAQ (SI)(R8*2), SI
	LEAQ (R12)(R8*2), R12
	ADDQ $128, DI
	ADDQ $128, R10
	ADDQ $128, R11
	DECQ CX
	JNZ  pairloop
	VZEROUPPER
	RET
