package main

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"recoil.dev/recoil"
)

// list is a request or an answer: items of bytes.
type list [][]byte

func parseList(data []byte) (list, error) {
	var items list
	for len(data) > 0 {
		if len(data) < 4 || uint64(binary.BigEndian.Uint32(data)) > uint64(len(data)-4) {
			return nil, invalid("a list that ends early")
		}
		length := binary.BigEndian.Uint32(data)
		items = append(items, data[4:4+length])
		data = data[4+length:]
	}
	return items, nil
}

func (l list) encode() []byte {
	var data []byte
	for _, item := range l {
		data = binary.BigEndian.AppendUint32(data, uint32(len(item)))
		data = append(data, item...)
	}
	return data
}

// encodeAnswer is an answer as the listener and the HTTP handler send it.
func encodeAnswer(answer list, err error) []byte {
	if err != nil {
		kind, text := describe(err)
		return append([]byte{1}, list{[]byte(kind), []byte(text)}.encode()...)
	}
	return append([]byte{0}, answer.encode()...)
}

// Errors of this package have a kind besides those of the contract.
const errInvalid recoil.Kind = "invalid"

// What is wrong with a request may hold bytes of it that are no text.
func invalid(text string) error {
	return &recoil.Error{Kind: errInvalid, Message: strings.ToValidUTF8(text, "\uFFFD")}
}

func describe(err error) (kind, text string) {
	if e, ok := errors.AsType[*recoil.Error](err); ok {
		return string(e.Kind), e.Message
	}
	return string(errInvalid), err.Error()
}

// arguments takes a command's arguments off their front; the first that is missing or has the wrong form stays as err.
type arguments struct {
	rest list
	err  error
}

func (a *arguments) bytes() []byte {
	if len(a.rest) == 0 {
		a.fail("too few arguments")
		return nil
	}
	item := a.rest[0]
	a.rest = a.rest[1:]
	return item
}

func (a *arguments) fail(text string) {
	if a.err == nil {
		a.err = invalid(text)
	}
}

func (a *arguments) text() string {
	text := string(a.bytes())
	if !utf8.ValidString(text) {
		a.fail("a text that is no UTF-8")
	}
	return text
}

func (a *arguments) number(bits int) uint64 {
	number, err := strconv.ParseUint(a.text(), 10, bits)
	if err != nil {
		a.fail("not a number: " + err.Error())
	}
	return number
}

func (a *arguments) truth() bool {
	text := a.text()
	if text != "true" && text != "false" {
		a.fail("neither true nor false: " + text)
	}
	return text == "true"
}

// option is nil for none.
func (a *arguments) option() []byte {
	item := a.bytes()
	switch {
	case len(item) == 0:
		return nil
	case item[0] == '+':
		return item[1:]
	}
	a.fail("not an option")
	return nil
}

func (a *arguments) mode() recoil.Mode {
	text := a.text()
	for _, mode := range []recoil.Mode{recoil.Write, recoil.Read, recoil.StaleRead} {
		if mode.String() == text {
			return mode
		}
	}
	a.fail("not a mode: " + text)
	return 0
}

func option(value []byte) []byte {
	if value == nil {
		return nil
	}
	return append([]byte{'+'}, value...)
}

func number[N ~int | ~int64 | ~uint32 | ~uint64](n N) []byte {
	return []byte(strconv.FormatUint(uint64(n), 10))
}

func truth(value bool) []byte { return strconv.AppendBool(nil, value) }
