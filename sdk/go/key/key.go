// Package key makes keys whose byte order is the order of their parts, so that a scan returns them sorted: numbers are big
// endian, and a byte string of any content is escaped so that a shorter one sorts before a longer one and no part can be
// mistaken for the next.
//
//	row := key.New('T').Text(table).Uint64(id)
//	for entry, err := range tx.Scan(recoil.Prefix(key.New('T').Text(table))) {
//		parts := key.Read(entry.Key[1:])
//		table, id := parts.Text(), parts.Uint64()
//		if err := parts.End(); err != nil { … }
//	}
package key

import (
	"encoding/binary"
	"errors"
	"math"
)

// Key is a key made of parts, in their order.
type Key []byte

// New begins a key of a kind, a byte that keeps a package's kinds of rows apart.
func New(kind byte) Key { return Key{kind} }

// Bytes appends a byte string: zeros become 00 ff, and 00 00 ends it.
func (k Key) Bytes(part []byte) Key { return appendEscaped(k, part) }

// Text appends a string, as Bytes does.
func (k Key) Text(part string) Key { return appendEscaped(k, part) }

func appendEscaped[T []byte | string](k Key, part T) Key {
	for i := range len(part) {
		if k = append(k, part[i]); part[i] == 0 {
			k = append(k, 0xff)
		}
	}
	return append(k, 0, 0)
}

// Uint32 appends an unsigned number, in its order.
func (k Key) Uint32(part uint32) Key { return binary.BigEndian.AppendUint32(k, part) }

// Uint64 appends an unsigned number, in its order.
func (k Key) Uint64(part uint64) Key { return binary.BigEndian.AppendUint64(k, part) }

// Int64 appends a signed number, in its order: negative ones first.
func (k Key) Int64(part int64) Key { return k.Uint64(uint64(part) ^ 1<<63) }

// Float64 appends a floating-point number, in the total order of IEEE 754.
func (k Key) Float64(part float64) Key { return k.Uint64(sortable(math.Float64bits(part))) }

func sortable(bits uint64) uint64 {
	if bits>>63 == 1 {
		return ^bits
	}
	return bits | 1<<63
}

// Parts takes the parts of a key off its front. After an error they are zero.
type Parts struct {
	rest []byte
	err  error
}

// Read reads the parts of a key, or of what is behind its kind.
func Read(data []byte) *Parts { return &Parts{rest: data} }

var (
	errEndsEarly = errors.New("key: it ends early")
	errZero      = errors.New("key: a zero that is neither escaped nor an end")
	errLeftOver  = errors.New("key: bytes are left over")
)

func (p *Parts) fail(err error) {
	if p.err == nil {
		p.err, p.rest = err, nil
	}
}

// Bytes is the next part, which was appended as Bytes or Text.
func (p *Parts) Bytes() []byte {
	part := []byte{}
	for i := 0; i < len(p.rest); i++ {
		if p.rest[i] != 0 {
			part = append(part, p.rest[i])
			continue
		}
		switch i++; {
		case i == len(p.rest):
			p.fail(errEndsEarly)
			return nil
		case p.rest[i] == 0:
			p.rest = p.rest[i+1:]
			return part
		case p.rest[i] == 0xff:
			part = append(part, 0)
		default:
			p.fail(errZero)
			return nil
		}
	}
	p.fail(errEndsEarly)
	return nil
}

// Text is Bytes as a string.
func (p *Parts) Text() string { return string(p.Bytes()) }

// Uint32 is the next part, a number.
func (p *Parts) Uint32() uint32 {
	if len(p.rest) < 4 {
		p.fail(errEndsEarly)
		return 0
	}
	part := binary.BigEndian.Uint32(p.rest)
	p.rest = p.rest[4:]
	return part
}

// Uint64 is the next part, a number.
func (p *Parts) Uint64() uint64 {
	if len(p.rest) < 8 {
		p.fail(errEndsEarly)
		return 0
	}
	part := binary.BigEndian.Uint64(p.rest)
	p.rest = p.rest[8:]
	return part
}

// Int64 is the next part, a number.
func (p *Parts) Int64() int64 {
	part := p.Uint64()
	if p.err != nil {
		return 0
	}
	return int64(part ^ 1<<63)
}

// Float64 is the next part, a number.
func (p *Parts) Float64() float64 {
	part := p.Uint64()
	if p.err != nil {
		return 0
	}
	if part>>63 == 1 {
		return math.Float64frombits(part &^ (1 << 63))
	}
	return math.Float64frombits(^part)
}

// End is the first error that there was, or says that bytes are left over.
func (p *Parts) End() error {
	if len(p.rest) > 0 {
		p.fail(errLeftOver)
	}
	return p.err
}
