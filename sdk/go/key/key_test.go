package key

import (
	"bytes"
	"math"
	"testing"
)

func TestKeysSortAsTheirParts(t *testing.T) {
	var sorted []Key
	for _, text := range []string{"", "\x00", "\x00\x00", "\x00\xff", "\x01", "a", "a\x00", "ab"} {
		sorted = append(sorted, New(1).Text(text).Uint32(1), New(1).Text(text).Uint32(1<<31))
	}
	for _, number := range []int64{math.MinInt64, -5, -1, 0, 1, math.MaxInt64} {
		sorted = append(sorted, New(2).Int64(number))
	}
	for _, number := range []float64{math.Inf(-1), -2.5, math.Copysign(0, -1), 0, 1e-300, 3, math.Inf(1)} {
		sorted = append(sorted, New(3).Float64(number))
	}
	for i := range sorted[1:] {
		if bytes.Compare(sorted[i], sorted[i+1]) >= 0 {
			t.Errorf("%q is not before %q", sorted[i], sorted[i+1])
		}
	}
}

func TestKeysComeApartAgain(t *testing.T) {
	made := New(7).Bytes([]byte("a\x00b")).Text("").Uint32(3).Uint64(4).Int64(-5).Float64(-6.5).Float64(6.5)
	parts := Read(made[1:])
	if a, b := parts.Text(), parts.Bytes(); a != "a\x00b" || len(b) != 0 {
		t.Errorf("got %q %q", a, b)
	}
	if a, b, c := parts.Uint32(), parts.Uint64(), parts.Int64(); a != 3 || b != 4 || c != -5 {
		t.Errorf("got %d %d %d", a, b, c)
	}
	if a, b := parts.Float64(), parts.Float64(); a != -6.5 || b != 6.5 {
		t.Errorf("got %v %v", a, b)
	}
	if err := parts.End(); err != nil {
		t.Error(err)
	}
}

func TestDamagedKeysAreErrors(t *testing.T) {
	made := New(7).Text("a\x00b").Uint32(3).Int64(-5).Float64(1)
	for length := 1; length < len(made); length++ {
		parts := Read(made[1:length])
		parts.Text()
		parts.Uint32()
		parts.Int64()
		parts.Float64()
		if parts.End() == nil {
			t.Errorf("the first %d bytes are a key", length)
		}
	}
	for _, damaged := range []string{"a\x00\x01\x00\x00", "\x00\x00x"} {
		parts := Read([]byte(damaged))
		if parts.Bytes(); parts.End() == nil {
			t.Errorf("%q is a key", damaged)
		}
	}
}
