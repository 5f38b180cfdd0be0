package recoiltest

import (
	"bytes"
	"slices"

	"recoil.dev/recoil"
)

// rows are entries in the order of their keys.
type rows []recoil.Entry

func (r rows) search(key []byte) (int, bool) {
	return slices.BinarySearchFunc(r, key, func(entry recoil.Entry, key []byte) int { return bytes.Compare(entry.Key, key) })
}

func (r rows) get(key []byte) []byte {
	if at, ok := r.search(key); ok {
		return clone(r[at].Value)
	}
	return nil
}

func (r *rows) put(key, value []byte) {
	at, ok := r.search(key)
	if ok {
		(*r)[at].Value = clone(value)
	} else {
		*r = slices.Insert(*r, at, recoil.Entry{Key: clone(key), Value: clone(value)})
	}
}

func (r *rows) remove(key []byte) {
	if at, ok := r.search(key); ok {
		*r = slices.Delete(*r, at, at+1)
	}
}

// bounds are the places of a range: from, and up to but not including.
func (r rows) bounds(within recoil.Range) (from, to int) {
	from, _ = r.search(within.Start)
	to = len(r)
	if within.End != nil {
		to, _ = r.search(within.End)
	}
	return from, max(from, to)
}

func (r *rows) removeRange(within recoil.Range) {
	from, to := r.bounds(within)
	*r = slices.Delete(*r, from, to)
}

// page is what a scan answers.
func (r rows) page(within recoil.Range, limit int, reverse bool) []recoil.Entry {
	from, to := r.bounds(within)
	found := slices.Clone(r[from:to])
	if reverse {
		slices.Reverse(found)
	}
	found = found[:min(max(limit, 0), len(found))]
	for i, entry := range found {
		found[i] = recoil.Entry{Key: clone(entry.Key), Value: clone(entry.Value)}
	}
	return found
}

// clone is a copy that is never nil.
func clone(data []byte) []byte { return append([]byte{}, data...) }
