package abi

import "unsafe"

// Go's runtime believes that it alone moves the end of linear memory, so the arena moves it in the same way:
// runtime.bloc is the end of what is in use, runtime.blocMax the size of linear memory.

//go:linkname bloc runtime.bloc
var bloc uintptr

//go:linkname blocMax runtime.blocMax
var blocMax uintptr

// release gives Go memory that take answered: for its heap, when that grows.
func release(area, count uintptr) { sysFreeOS(unsafe.Add(unsafe.Pointer(nil), area), count) }

//go:linkname sysFreeOS runtime.sysFreeOS
func sysFreeOS(area unsafe.Pointer, count uintptr)

// In memory_wasm.s: memory.grow, memory.copy and unreachable.

func grow(pages uint32) int32
func move(to, from, count uintptr)
func trap()

//go:nosplit
func endOfMemory() uintptr { return bloc }

// take moves the end of memory by count bytes, a multiple of the page size, and answers where it was; 0 if there is no more.
//
//go:nosplit
func take(count uintptr) uintptr {
	area := bloc
	if area == 0 || area&(pageBytes-1) != 0 {
		return 0 // Go has not set up its memory, or does it in another way: the caller traps
	}
	if area+count > blocMax {
		if grow(uint32((area+count-blocMax)/pageBytes)) < 0 {
			return 0
		}
		blocMax = area + count
	}
	bloc = area + count
	return area
}

// The host calls these while an import waits, on the stack of the goroutine that called it: there, some 790 bytes are left
// below every frame, and these functions need 256.

//go:wasmexport cabi_realloc
//go:nosplit
func cabiRealloc(old, oldSize, align, size uint32) uint32 {
	return uint32(reallocate(uintptr(old), uintptr(oldSize), uintptr(align), uintptr(size)))
}

// cabiReallocAdapter serves the state and the stack of the adapter between WASI's two versions, which live as long as
// the instance.
//
//go:wasmexport cabi_realloc_adapter
//go:nosplit
func cabiReallocAdapter(_, oldSize, align, size uint32) uint32 {
	area := take(alignUp(uintptr(size), pageBytes))
	if area == 0 || oldSize != 0 || align > pageBytes {
		trap()
	}
	return uint32(area)
}
