#include "textflag.h"

// The assembler puts SP before a load by itself, but not before a store.

// func grow(pages uint32) int32
TEXT ·grow(SB), NOSPLIT, $0-12
	Get SP
	I32Load pages+0(FP)
	GrowMemory
	I32Store ret+8(FP)
	RET

// func move(to, from, count uintptr)
TEXT ·move(SB), NOSPLIT, $0-24
	I32Load to+0(FP)
	I32Load from+8(FP)
	I32Load count+16(FP)
	MemoryCopy
	RET

// func trap()
TEXT ·trap(SB), NOSPLIT, $0-0
	UNDEF

// func address(pointer unsafe.Pointer) uint32
TEXT ·address(SB), NOSPLIT, $0-12
	Get SP
	I32Load pointer+0(FP)
	I32Store ret+8(FP)
	RET
