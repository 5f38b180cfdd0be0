package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The sections of a module that matter here, by their ids.
const (
	sectionCustom = 0
	sectionImport = 2
	sectionExport = 7
	sectionCode   = 10
)

const (
	header         = "\x00asm\x01\x00\x00\x00"
	functionExport = 0
	functionImport = 0
)

// module is a core module: its sections as they are, and what is read of them.
type module struct {
	sections []section
	// imported functions come first in the index space, before those with bodies.
	imported uint64
	exports  []export
	bodies   [][]byte
	// names are those of functions, by index.
	names map[uint64]string
}

type section struct {
	id      byte
	content []byte
}

type export struct {
	name  string
	kind  byte
	index uint64
}

var errEndsEarly = errors.New("it ends early")

// reader takes values off the front of a part of a module. Its methods panic with an error, which [guard] returns.
type reader struct{ rest []byte }

func guard(err *error) {
	switch problem := recover().(type) {
	case nil:
	case error:
		*err = problem
	default:
		panic(problem)
	}
}

func (r *reader) take(count uint64) []byte {
	if count > uint64(len(r.rest)) {
		panic(errEndsEarly)
	}
	taken := r.rest[:count]
	r.rest = r.rest[count:]
	return taken
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) number() uint64 {
	value, length := binary.Uvarint(r.rest)
	if length <= 0 {
		panic(errEndsEarly)
	}
	r.rest = r.rest[length:]
	return value
}

func (r *reader) skipNumber() {
	for r.byte()&0x80 != 0 {
	}
}

func (r *reader) bytes() []byte { return r.take(r.number()) }

func (r *reader) text() string { return string(r.bytes()) }

// parse reads a module as the Go linker makes it.
func parse(wasm []byte) (m *module, err error) {
	defer guard(&err)
	r := reader{wasm}
	if string(r.take(uint64(len(header)))) != header {
		return nil, errors.New("it is no core module")
	}
	m = &module{names: map[uint64]string{}}
	for len(r.rest) > 0 {
		s := section{id: r.byte(), content: r.bytes()}
		m.sections = append(m.sections, s)
		switch content := (reader{s.content}); s.id {
		case sectionImport:
			m.readImports(content)
		case sectionExport:
			m.readExports(content)
		case sectionCode:
			for count := content.number(); count > 0; count-- {
				m.bodies = append(m.bodies, content.bytes())
			}
		case sectionCustom:
			if content.text() == "name" {
				m.readNames(content)
			}
		}
	}
	return m, nil
}

func (m *module) readImports(r reader) {
	for count := r.number(); count > 0; count-- {
		module, name := r.text(), r.text()
		if kind := r.byte(); kind != functionImport {
			panic(fmt.Errorf("it imports %s %s, which is no function", module, name))
		}
		r.number() // its type
		m.imported++
	}
}

func (m *module) readExports(r reader) {
	for count := r.number(); count > 0; count-- {
		m.exports = append(m.exports, export{r.text(), r.byte(), r.number()})
	}
}

func (m *module) readNames(r reader) {
	const functionNames = 1
	for len(r.rest) > 0 {
		kind, content := r.byte(), reader{r.bytes()}
		if kind != functionNames {
			continue
		}
		for count := content.number(); count > 0; count-- {
			index := content.number()
			m.names[index] = content.text()
		}
	}
}

// function is the index of an exported function.
func (m *module) function(name string) (uint64, bool) {
	at := slices.IndexFunc(m.exports, func(e export) bool { return e.kind == functionExport && e.name == name })
	if at < 0 {
		return 0, false
	}
	return m.exports[at].index, true
}

// body is the code of a function; false if it is imported.
func (m *module) body(index uint64) ([]byte, bool) {
	if index < m.imported {
		return nil, false
	}
	if index-m.imported >= uint64(len(m.bodies)) {
		panic(fmt.Errorf("it has no function %d", index))
	}
	return m.bodies[index-m.imported], true
}

// encode is the module with its exports as they are now, without custom sections.
func (m *module) encode() []byte {
	wasm := []byte(header)
	for _, s := range m.sections {
		switch s.id {
		case sectionCustom:
			continue
		case sectionExport:
			s.content = m.encodeExports()
		}
		wasm = append(wasm, s.id)
		wasm = binary.AppendUvarint(wasm, uint64(len(s.content)))
		wasm = append(wasm, s.content...)
	}
	return wasm
}

func (m *module) encodeExports() []byte {
	content := binary.AppendUvarint(nil, uint64(len(m.exports)))
	for _, e := range m.exports {
		content = binary.AppendUvarint(content, uint64(len(e.name)))
		content = append(content, e.name...)
		content = append(content, e.kind)
		content = binary.AppendUvarint(content, e.index)
	}
	return content
}
