// Package abi is the memory side of the component model's canonical ABI: what the host reads of Go's memory, and the
// memory that the host fills.
//
// The host calls `cabi_realloc` for memory to put arguments and results in, and while it does so the component may call
// nothing outside of itself. Go's allocator cannot keep to that: it may start a collection, which reads clocks, polls
// timers and may run any goroutine. So `cabi_realloc` hands out memory of an arena that Go does not know, and never
// enters Go's runtime: it is nosplit and calls nothing but functions of one instruction each, which cmd/finish proves for
// every module that is built. What the host put there is copied to Go's memory before anything else happens.
//
// Invariant: nothing that an author sees points into the arena.
package abi

const pageBytes = 64 << 10

// arena hands out memory from its beginning and takes everything back at once. It is no value that a pointer could lead
// to, because Go checks pointers, and what follows a failed check is Go's runtime.
var arena struct{ base, next, end uintptr }

// outgrown are areas that the arena has moved out of. Blocks in them stay as they are until the last window closes; then
// Go gets them, and grows into them before it grows at the end of memory: so it comes to rest, with the arena at the end,
// where it grows without moving. It moves at most once in a call of the host, during which Go does not grow.
var outgrown struct {
	areas [16]struct{ base, end uintptr }
	count uint
}

// windows counts the calls whose memory in the arena is still being read. There can be several, because a copy may
// allocate, and so let another goroutine go on.
var windows int

// Enter opens a window: before an import that answers in memory is called, or first thing in an export, whose arguments
// were written just before.
func Enter() { windows++ }

// Leave closes a window, when everything in it was copied.
func Leave() {
	if windows--; windows > 0 {
		return
	}
	arena.next = arena.base
	for outgrown.count > 0 {
		outgrown.count--
		area := outgrown.areas[outgrown.count]
		release(area.base, area.end-area.base)
	}
}

// reallocate is cabi_realloc: size bytes at a multiple of align, beginning with the bytes at old.
//
//go:nosplit
func reallocate(old, oldSize, align, size uintptr) uintptr {
	if size == 0 {
		return align
	}
	at := alignUp(arena.next, align)
	if arena.end == 0 || at+size > arena.end {
		at = extend(align, size)
	}
	arena.next = at + size
	if oldSize != 0 {
		move(at, old, min(oldSize, size))
	}
	return at
}

// extend makes room for a block and answers where it goes.
//
//go:nosplit
func extend(align, size uintptr) uintptr {
	needed := alignUp(size+align, pageBytes)
	wanted := needed + alignUp((arena.end-arena.base)/8, pageBytes) // so that it does not grow often
	if arena.end != 0 && endOfMemory() == arena.end {
		_, room := takeUpTo(wanted, needed)
		arena.end += room
		return alignUp(arena.next, align)
	}
	area, room := takeUpTo(wanted, needed)
	if arena.end != 0 {
		slot := outgrown.count % uint(len(outgrown.areas))
		outgrown.areas[slot].base, outgrown.areas[slot].end = arena.base, arena.end
		outgrown.count = slot + 1
	}
	arena.base, arena.end = area, area+room
	return alignUp(area, align)
}

// takeUpTo takes wanted bytes, or what is needed if the instance's limit is near.
//
//go:nosplit
func takeUpTo(wanted, needed uintptr) (area, room uintptr) {
	room = wanted
	area = take(room)
	if area == 0 {
		room = needed
		area = take(room)
	}
	if area == 0 {
		trap()
	}
	return area, room
}

//go:nosplit
func alignUp(n, align uintptr) uintptr { return (n + align - 1) &^ (align - 1) }
