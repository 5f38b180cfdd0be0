//go:build !wasm

package abi

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Blocks neither overlap nor lose what is in them, however they grow and wherever the arena is extended.
func TestBlocksAreApartAndKeepTheirBytes(t *testing.T) {
	type block struct {
		at   uintptr
		data []byte
	}
	random := rand.New(rand.NewPCG(1, 2))
	aligns, sizes := []uintptr{1, 2, 4, 8}, []uintptr{1, 7, 64, 1000, 70_000}
	for round := range 20 {
		Enter()
		var blocks []block
		for step := range 100 {
			align, size := aligns[random.IntN(len(aligns))], sizes[random.IntN(len(sizes))]
			if step%25 == 0 {
				take(pageBytes) // as Go's runtime does: the arena cannot grow where it is
			}
			b := block{data: bytes.Repeat([]byte{byte(round), byte(step)}, int(size))[:size]}
			if step%5 == 0 && len(blocks) > 0 { // a block grows
				grown := blocks[len(blocks)-1]
				blocks = blocks[:len(blocks)-1]
				size += uintptr(len(grown.data))
				b.at = reallocate(grown.at, uintptr(len(grown.data)), align, size)
				b.data = append(grown.data, b.data...)
				copy(bytesAt(b.at, size)[len(grown.data):], b.data[len(grown.data):])
			} else {
				b.at = reallocate(0, 0, align, size)
				copy(bytesAt(b.at, size), b.data)
			}
			if b.at%align != 0 {
				t.Fatalf("block at %#x is not aligned to %d", b.at, align)
			}
			blocks = append(blocks, b)
		}
		for i, b := range blocks {
			if !bytes.Equal(bytesAt(b.at, uintptr(len(b.data))), b.data) {
				t.Fatalf("round %d: block %d has changed", round, i)
			}
		}
		Leave()
	}
}

func TestTheArenaStartsAgainWhenTheLastWindowCloses(t *testing.T) {
	Enter()
	first := reallocate(0, 0, 8, 100)
	Enter()
	reallocate(0, 0, 8, 100)
	Leave()
	if third := reallocate(0, 0, 8, 100); third == first {
		t.Error("memory was handed out again while a window was open")
	}
	Leave()
	Enter()
	defer Leave()
	if again := reallocate(0, 0, 8, 100); again != arena.base {
		t.Errorf("at %#x, not at the beginning %#x", again, arena.base)
	}
	if empty := reallocate(0, 0, 4, 0); empty != 4 {
		t.Errorf("nothing is at %#x", empty)
	}
}

// What is outgrown is not lost: calls that need a little more each time do not use up memory.
func TestOutgrownAreasAreGivenBack(t *testing.T) {
	const largest = 1 << 20
	others := taken - released - (arena.end - arena.base)
	for size := uintptr(100_000); size < largest; size += 20_000 {
		take(pageBytes) // the arena cannot grow where it is
		others += pageBytes
		Enter()
		reallocate(0, 0, 1, size)
		Leave()
	}
	if kept := taken - released - others; kept != arena.end-arena.base || kept > 2*largest {
		t.Errorf("%d bytes are kept for an arena of %d and blocks of up to %d", kept, arena.end-arena.base, largest)
	}
}
