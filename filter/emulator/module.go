package emulator

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// exportSection is the number of a module's export section
// (WebAssembly core specification, 5.5.10).
const exportSection = 7

// startable gives a module whose export _initialize is called _start: the
// SDK's emulator starts a module by that name, and a module that is compiled
// as a library has the other.
func startable(module []byte) ([]byte, error) {
	const header = 8 // magic and version
	if len(module) < header || string(module[:4]) != "\x00asm" {
		return nil, errors.New("not a Wasm module")
	}
	out := bytes.Clone(module[:header])
	for rest := module[header:]; len(rest) > 0; {
		id := rest[0]
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || uint64(len(rest)-1-n) < size {
			return nil, fmt.Errorf("section %d is cut short", id)
		}
		body := rest[1+n:][:size]
		rest = rest[1+n:][size:]
		if id == exportSection {
			body = bytes.Replace(body, named("_initialize"), named("_start"), 1)
		}
		out = append(out, id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	if len(out) == len(module) {
		return nil, errors.New("it exports no _initialize")
	}
	return out, nil
}

// named is a name as the binary format has it: its length, then its bytes.
func named(name string) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(name))), name...)
}
