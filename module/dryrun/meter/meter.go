// Package meter makes Wasm modules count the instructions that they execute. It adds a
// global to the module and, before each run of instructions that are always executed
// together, code that adds the length of the run to the global. The behavior of the module
// does not change.
package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Counter is the name of the export of the counter, a 64-bit integer.
const Counter = "wasmxds.instructions"

// Numbers of sections, and their order where it differs from that of the numbers.
const (
	sectionCustom = 0
	sectionImport = 2
	sectionGlobal = 6
	sectionExport = 7
	sectionCode   = 10
	sectionTag    = 13
	sectionCount  = 12
)

var errShort = errors.New("it ends too early")

type section struct {
	id   byte
	body []byte
}

// Count returns a module that counts. It fails if the module contains something that this
// package does not know.
func Count(module []byte) ([]byte, error) {
	const header = 8
	if len(module) < header || string(module[:4]) != "\x00asm" {
		return nil, errors.New("it is not a Wasm module")
	}
	sections, err := split(module[header:])
	if err != nil {
		return nil, err
	}
	counter := uint64(0) // index of the global
	for _, s := range sections {
		n := uint64(0)
		switch s.id {
		case sectionImport:
			n, err = importedGlobals(s.body)
		case sectionGlobal:
			n, err = (&reader{b: s.body}).u()
		}
		if err != nil {
			return nil, err
		}
		counter += n
	}
	global := []byte{0x7e, 1, 0x42, 0, 0x0b} // i64, mutable, 0
	export := append(binary.AppendUvarint(nil, uint64(len(Counter))), Counter...)
	export = binary.AppendUvarint(append(export, 3), counter)
	if sections, err = add(sections, sectionGlobal, global); err == nil {
		sections, err = add(sections, sectionExport, export)
	}
	if err != nil {
		return nil, err
	}
	out := slices.Clone(module[:header])
	for _, s := range sections {
		if s.id == sectionCode {
			if s.body, err = countCode(s.body, counter); err != nil {
				return nil, err
			}
		}
		out = binary.AppendUvarint(append(out, s.id), uint64(len(s.body)))
		out = append(out, s.body...)
	}
	return out, nil
}

func split(b []byte) ([]section, error) {
	var out []section
	for r := (&reader{b: b}); r.at < len(r.b); {
		id, err := r.byte()
		if err != nil {
			return nil, err
		}
		body, err := r.bytes()
		if err != nil {
			return nil, err
		}
		out = append(out, section{id, body})
	}
	return out, nil
}

// add adds an element to a section that is a list. It creates the section if necessary.
func add(sections []section, id byte, element []byte) ([]section, error) {
	i := slices.IndexFunc(sections, func(s section) bool { return s.id != sectionCustom && order(s.id) >= order(id) })
	if i < 0 {
		i = len(sections)
	}
	if i == len(sections) || sections[i].id != id {
		return slices.Insert(sections, i, section{id, append([]byte{1}, element...)}), nil
	}
	r := &reader{b: sections[i].body}
	n, err := r.u()
	if err != nil {
		return nil, err
	}
	sections[i].body = slices.Concat(binary.AppendUvarint(nil, n+1), r.b[r.at:], element)
	return sections, nil
}

func order(id byte) int {
	switch id {
	case sectionTag:
		return 2*sectionGlobal - 1
	case sectionCount:
		return 2*sectionCode - 1
	}
	return 2 * int(id)
}

func importedGlobals(b []byte) (globals uint64, err error) {
	r := &reader{b: b}
	n, err := r.u()
	for ; n > 0 && err == nil; n-- {
		_, err = r.bytes()
		if err == nil {
			_, err = r.bytes()
		}
		var kind byte
		if err == nil {
			kind, err = r.byte()
		}
		if err != nil {
			break
		}
		switch kind {
		case 0: // function
			err = r.skip(1)
		case 1: // table
			if err = r.valueType(); err == nil {
				err = r.limits()
			}
		case 2: // memory
			err = r.limits()
		case 3: // global
			globals++
			if err = r.valueType(); err == nil {
				_, err = r.byte()
			}
		case 4: // tag
			if _, err = r.byte(); err == nil {
				err = r.skip(1)
			}
		default:
			err = fmt.Errorf("it imports something of kind %d", kind)
		}
	}
	return globals, err
}

// countCode adds counting to all functions.
func countCode(b []byte, counter uint64) ([]byte, error) {
	r := &reader{b: b}
	n, err := r.u()
	if err != nil {
		return nil, err
	}
	out := binary.AppendUvarint(make([]byte, 0, len(b)+len(b)/2), n)
	for i := range n {
		body, err := r.bytes()
		if err == nil {
			body, err = countFunction(body, counter)
		}
		if err != nil {
			return nil, fmt.Errorf("function %d: %w", i, err)
		}
		out = append(binary.AppendUvarint(out, uint64(len(body))), body...)
	}
	return out, nil
}

// countFunction adds counting to a function. A run ends after each instruction that may
// branch, and before each that may be the target of a branch.
func countFunction(b []byte, counter uint64) ([]byte, error) {
	r := &reader{b: b}
	locals, err := r.u()
	for ; locals > 0 && err == nil; locals-- {
		if _, err = r.u(); err == nil {
			err = r.valueType()
		}
	}
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(b)*3/2), b[:r.at]...)
	from, cost := r.at, uint64(0)
	for r.at < len(b) {
		counts, ends, err := r.instruction()
		if err != nil {
			return nil, err
		}
		if counts {
			cost++
		}
		if ends || r.at == len(b) {
			if cost > 0 {
				out = append(out, 0x23) // global.get
				out = append(binary.AppendUvarint(out, counter), 0x42)
				out = append(appendSigned(out, cost), 0x7c, 0x24) // i64.add, global.set
				out = binary.AppendUvarint(out, counter)
			}
			out = append(out, b[from:r.at]...)
			from, cost = r.at, 0
		}
	}
	return out, nil
}

// appendSigned appends a positive number in the encoding of i64.const.
func appendSigned(b []byte, n uint64) []byte {
	for n >= 0x40 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
