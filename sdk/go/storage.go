package recoil

import (
	"bytes"
	"iter"
	"slices"
)

// Storage is the ordered key-value space that belongs to the package.
//
// In a handler ([Tx]) it is the partition's: reads see what the transaction wrote, and the writes of one request become
// visible together or not at all. In a listener ([Router.Storage]) each call is one routed, linearizable operation on the
// partition that owns the key; a scan walks all partitions.
//
// Default limits: keys 65,514 bytes, values 8 MiB, the writes of one transaction 16 MiB; beyond, [ErrTooLarge].
type Storage interface {
	// Get answers the value of key; nil if there is none. The value of a key that is there is never nil.
	Get(key []byte) ([]byte, error)
	// GetMany answers the values in the order of keys, in one crossing.
	GetMany(keys [][]byte) ([][]byte, error)
	// Put writes one value.
	Put(key, value []byte) error
	// PutMany writes many values in one crossing; a later entry of the same key wins. In a listener it is atomic per
	// partition only.
	PutMany(entries []Entry) error
	// Delete removes one value. Removing an absent key is not an error.
	Delete(key []byte) error
	// DeleteRange removes every key of a range.
	DeleteRange(within Range) error
	// Scan ranges over the entries in key order, which it reads page by page. It ends after its first error.
	Scan(within Range) iter.Seq2[Entry, error]
	// ScanReverse is Scan in descending key order.
	ScanReverse(within Range) iter.Seq2[Entry, error]
	// ScanPage answers at most limit entries in key order, descending if reverse, in one crossing. Fewer may come before
	// the range ends (pages have 4 MiB), but at least one if there is one: only an empty page is the end.
	ScanPage(within Range, limit int, reverse bool) ([]Entry, error)
}

// Entry is a key and its value.
type Entry struct{ Key, Value []byte }

// Range is a range of keys: Start is included, End is not. A nil End is open. The zero Range is every key.
type Range struct{ Start, End []byte }

// Prefix is the range of keys that begin with prefix.
func Prefix(prefix []byte) Range {
	end := bytes.TrimRight(prefix, "\xff")
	if len(end) == 0 {
		return Range{Start: prefix}
	}
	end = slices.Clone(end)
	end[len(end)-1]++
	return Range{Start: prefix, End: end}
}

// The first page is small, for those who look at the first entries only; pages then grow to the largest.
const (
	pageEntriesFirst   = 32
	pageEntriesLargest = 1024
)

// Pages makes Scan and ScanReverse of ScanPage, for types that implement [Storage].
func Pages(storage interface {
	ScanPage(within Range, limit int, reverse bool) ([]Entry, error)
}, within Range, reverse bool) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		rest := within
		for limit := pageEntriesFirst; ; limit = min(limit*4, pageEntriesLargest) {
			page, err := storage.ScanPage(rest, limit, reverse)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if len(page) == 0 {
				return
			}
			last := page[len(page)-1].Key
			if reverse {
				rest.End = slices.Clone(last)
			} else {
				rest.Start = append(slices.Clone(last), 0) // the smallest key after it
			}
			for _, entry := range page {
				if !yield(entry, nil) {
					return
				}
			}
		}
	}
}
