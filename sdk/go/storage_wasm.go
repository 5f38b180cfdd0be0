package recoil

import (
	"iter"
	"runtime"
	"unsafe"

	"recoil.dev/recoil/internal/abi"
)

// An argument of the type string is a list of bytes or a string; a pointer to a number of words is where the host puts
// what it answers, laid out as the canonical ABI says.

//go:wasmimport recoil:plugin/storage@0.1.0 get
//go:noescape
func storageGet(key string, result *[4]uint32)

//go:wasmimport recoil:plugin/storage@0.1.0 get-many
//go:noescape
func storageGetMany(keys *[2]uint32, count uint32, result *[4]uint32)

//go:wasmimport recoil:plugin/storage@0.1.0 put
//go:noescape
func storagePut(key, value string, result *[4]uint32)

//go:wasmimport recoil:plugin/storage@0.1.0 put-many
//go:noescape
func storagePutMany(entries *[4]uint32, count uint32, result *[4]uint32)

//go:wasmimport recoil:plugin/storage@0.1.0 remove
//go:noescape
func storageRemove(key string, result *[4]uint32)

//go:wasmimport recoil:plugin/storage@0.1.0 remove-range
//go:noescape
func storageRemoveRange(start string, hasEnd bool, end string, result *[4]uint32)

//go:wasmimport recoil:plugin/storage@0.1.0 scan
//go:noescape
func storageScan(start string, hasEnd bool, end string, limit uint32, reverse bool, result *[4]uint32)

// hostStorage is the host's storage: each method is one call of the contract.
type hostStorage struct{}

var storageKinds = [...]Kind{ErrTooLarge, ErrReadOnly, ErrQuotaExceeded, ErrUnavailable}

// variantError makes an error of a variant whose cases are kinds and whose payload, if it has one, is a text.
func variantError(kinds []Kind, silent Kind, tag, at, length uint32) error {
	kind := kinds[abi.Tag(tag)]
	if kind == silent {
		return &Error{Kind: kind}
	}
	return &Error{Kind: kind, Message: abi.String(at, length)}
}

// storageError is the error in a result; nil if there is none.
func storageError(result *[4]uint32) error {
	if abi.Tag(result[0]) == 0 {
		return nil
	}
	return variantError(storageKinds[:], ErrReadOnly, result[1], result[2], result[3])
}

// optionalBytes is an option of a list of bytes; nil if there is none.
func optionalBytes(tag, at, length uint32) []byte {
	if abi.Tag(tag) == 0 {
		return nil
	}
	return abi.Bytes(at, length)
}

func (hostStorage) Get(key []byte) ([]byte, error) {
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	storageGet(abi.View(key), &result)
	if err := storageError(&result); err != nil {
		return nil, err
	}
	return optionalBytes(result[1], result[2], result[3]), nil
}

func (hostStorage) GetMany(keys [][]byte) ([][]byte, error) {
	list := make([][2]uint32, len(keys))
	for i, key := range keys {
		list[i][0], list[i][1] = abi.Lower(key)
	}
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	storageGetMany(unsafe.SliceData(list), uint32(len(list)), &result)
	runtime.KeepAlive(keys)
	if err := storageError(&result); err != nil {
		return nil, err
	}
	values := make([][]byte, result[2])
	for i, value := range abi.Items[[3]uint32](result[1], result[2]) {
		values[i] = optionalBytes(value[0], value[1], value[2])
	}
	return values, nil
}

func (hostStorage) Put(key, value []byte) error {
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	storagePut(abi.View(key), abi.View(value), &result)
	return storageError(&result)
}

func (hostStorage) PutMany(entries []Entry) error {
	list := make([][4]uint32, len(entries))
	for i, entry := range entries {
		list[i][0], list[i][1] = abi.Lower(entry.Key)
		list[i][2], list[i][3] = abi.Lower(entry.Value)
	}
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	storagePutMany(unsafe.SliceData(list), uint32(len(list)), &result)
	runtime.KeepAlive(entries)
	return storageError(&result)
}

func (hostStorage) Delete(key []byte) error {
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	storageRemove(abi.View(key), &result)
	return storageError(&result)
}

func (hostStorage) DeleteRange(within Range) error {
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	storageRemoveRange(abi.View(within.Start), within.End != nil, abi.View(within.End), &result)
	return storageError(&result)
}

func (hostStorage) ScanPage(within Range, limit int, reverse bool) ([]Entry, error) {
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	storageScan(abi.View(within.Start), within.End != nil, abi.View(within.End), bounded(limit), reverse, &result)
	if err := storageError(&result); err != nil {
		return nil, err
	}
	entries := make([]Entry, result[2])
	for i, entry := range abi.Items[[4]uint32](result[1], result[2]) {
		entries[i] = Entry{Key: abi.Bytes(entry[0], entry[1]), Value: abi.Bytes(entry[2], entry[3])}
	}
	return entries, nil
}

func (s hostStorage) Scan(within Range) iter.Seq2[Entry, error] { return Pages(s, within, false) }

func (s hostStorage) ScanReverse(within Range) iter.Seq2[Entry, error] { return Pages(s, within, true) }

// bounded makes a number one that the contract can say.
func bounded(n int) uint32 { return uint32(min(max(n, 0), 1<<31-1)) }
