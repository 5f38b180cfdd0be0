package recoil_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"recoil.dev/recoil"
	"recoil.dev/recoil/recoiltest"
)

func TestAPrefixEndsBeforeTheNextKeyThatLacksIt(t *testing.T) {
	for prefix, end := range map[string][]byte{"ab": []byte("ac"), "a\xff\xff": []byte("b"), "\xff\xff": nil, "": nil} {
		within := recoil.Prefix([]byte(prefix))
		if !bytes.Equal(within.End, end) || (within.End == nil) != (end == nil) || string(within.Start) != prefix {
			t.Errorf("%q: got %q to %q", prefix, within.Start, within.End)
		}
	}
}

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func TestScansPageThroughEverythingOnceInBothDirections(t *testing.T) {
	partition := recoiltest.NewPartition()
	partition.PageEntries = 7 // pages shorter than asked for are not the end
	for n := range uint32(2000) {
		partition.Put(number(n), nil)
	}
	_, err := partition.Read(func(tx recoil.Tx, _ []byte) ([]byte, error) {
		within := recoil.Range{Start: number(10), End: number(1500)}
		next := uint32(10)
		for entry, err := range tx.Scan(within) {
			if err != nil || !bytes.Equal(entry.Key, number(next)) {
				t.Fatalf("got %x %v, want %d", entry.Key, err, next)
			}
			next++
		}
		for entry, err := range tx.ScanReverse(within) {
			if next--; err != nil || !bytes.Equal(entry.Key, number(next)) {
				t.Fatalf("got %x %v, want %d", entry.Key, err, next)
			}
		}
		if next != 10 {
			t.Errorf("the scans met at %d", next)
		}
		for range tx.Scan(recoil.Range{Start: []byte("b"), End: []byte("a")}) {
			t.Error("an empty range has an entry")
		}
		return nil, nil
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestErrorsAreFoundByKindAndByType(t *testing.T) {
	err := fmt.Errorf("call: %w", &recoil.Error{Kind: recoil.ErrConflict})
	if !errors.Is(err, recoil.ErrConflict) || errors.Is(err, recoil.ErrRejected) {
		t.Error("the kind is not found")
	}
	refused := &recoil.Error{Kind: recoil.ErrRejected, Message: "no such account"}
	if found, ok := errors.AsType[*recoil.Error](fmt.Errorf("call: %w", refused)); !ok || found.Message != "no such account" {
		t.Error("the error is not found")
	}
	for err, text := range map[*recoil.Error]string{
		refused:                    "no such account",
		{Kind: recoil.ErrReadOnly}: "a write in a read-only call: route it with the mode Write",
		{Kind: recoil.ErrFailed, Message: "a panic"}: "it failed: a panic",
		{Kind: "mine", Message: "why"}:               "mine: why",
	} {
		if err.Error() != text {
			t.Errorf("got %q, want %q", err.Error(), text)
		}
	}
}

func TestRequestsAreTakenApartAndDecoded(t *testing.T) {
	request := recoiltest.NewRequest("GET", "/a%2Fb//c%20d/%zz?name=J%C3%B6rg+X&empty&name=other&bad=%zz", nil)
	request.Headers = []recoil.HTTPHeader{{Name: "x-trace", Value: "7"}}
	if got := fmt.Sprintf("%q", request.Segments()); got != `["a/b" "c d" "%zz"]` {
		t.Errorf("segments: %s", got)
	}
	values := request.Values()
	if values.Get("name") != "Jörg X" || !values.Has("empty") || values.Has("absent") {
		t.Errorf("values: %v", values)
	}
	if request.Header("X-Trace") != "7" || request.Header("absent") != "" {
		t.Error("headers are not found")
	}
	response := recoil.JSON(200, []byte("{}"))
	response.SetHeader("Content-Type", "text/json")
	response.SetHeader("x-one", "1")
	if got := fmt.Sprint(response.Headers); got != "[{Content-Type text/json} {x-one 1}]" {
		t.Errorf("headers: %s", got)
	}
}

func TestSettingsHaveTypes(t *testing.T) {
	if _, ok := recoil.Setting("count"); ok {
		t.Error("a setting that nobody gave")
	}
	recoiltest.SetSetting(t, "count", "-3")
	recoiltest.SetSetting(t, "loud", "true")
	count, ok := recoil.IntSetting("count")
	loud, isBool := recoil.BoolSetting("loud")
	if count != -3 || !ok || !loud || !isBool {
		t.Errorf("got %v %v %v %v", count, ok, loud, isBool)
	}
	if _, ok := recoil.IntSetting("loud"); ok {
		t.Error("true is a number")
	}
	if _, ok := recoil.BoolSetting("count"); ok {
		t.Error("-3 is a truth")
	}
}
