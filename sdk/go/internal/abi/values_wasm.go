package abi

import (
	"runtime"
	"strings"
	"unsafe"
)

// address answers where in linear memory a pointer points. Being assembly, it makes what is pointed to escape to the
// heap, where nothing moves: the address stays right for as long as the memory is kept alive.
func address(pointer unsafe.Pointer) uint32

// Lower answers where bytes are, for a list in a record. The caller keeps them alive until the host has read them.
func Lower(data []byte) (at, length uint32) {
	return address(unsafe.Pointer(unsafe.SliceData(data))), uint32(len(data))
}

// Text is a string as the host takes it: one that is not UTF-8 would end the instance.
func Text(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// LowerString is Lower for a string.
func LowerString(text string) (at, length uint32) {
	return address(unsafe.Pointer(unsafe.StringData(text))), uint32(len(text))
}

// Address answers where a value is that the host will read or write.
func Address[T any](value *T) uint32 { return address(unsafe.Pointer(value)) }

// View makes a list of bytes an argument of an import: strings are passed as address and length.
func View(data []byte) string { return unsafe.String(unsafe.SliceData(data), len(data)) }

// Items are a list that the host has put into the arena. They are valid until the window closes.
func Items[T any](at, length uint32) []T {
	return unsafe.Slice((*T)(unsafe.Add(unsafe.Pointer(nil), at)), length)
}

// Large messages come to a good part of an instance's memory, in which Go's collector, whose work is done beside a program's,
// hardly gets its turn: so it runs whenever so many bytes of large messages have been copied.
const (
	largeBytes        = 256 << 10
	collectEveryBytes = 4 << 20
)

var largeSinceCollected uint32

func makeRoom(length uint32) {
	if length < largeBytes {
		return
	}
	if largeSinceCollected += length; largeSinceCollected > collectEveryBytes {
		largeSinceCollected = length
		runtime.GC()
	}
}

// Bytes copies a list of bytes out of the arena. It is never nil, which an absent value is.
func Bytes(at, length uint32) []byte {
	makeRoom(length)
	return append([]byte{}, Items[byte](at, length)...)
}

// String copies a string out of the arena.
func String(at, length uint32) string { return string(Items[byte](at, length)) }

// Tag reads the discriminant of a variant, an option or a result: one byte, whatever follows it.
func Tag(word uint32) uint8 { return uint8(word) }
