//go:build !wasm

package abi

import "unsafe"

// The arena's memory where there is no linear memory: tests run on it.

var (
	memory          = make([]byte, 64<<20)
	memoryBase      = alignUp(uintptr(unsafe.Pointer(&memory[0])), pageBytes)
	taken, released uintptr
)

func endOfMemory() uintptr { return memoryBase + taken }

func take(count uintptr) uintptr {
	if taken+count > uintptr(len(memory))-pageBytes {
		return 0
	}
	taken += count
	return endOfMemory() - count
}

func release(_, count uintptr) { released += count }

func bytesAt(at, count uintptr) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), at)), count)
}

func move(to, from, count uintptr) { copy(bytesAt(to, count), bytesAt(from, count)) }

func trap() { panic("trap") }
