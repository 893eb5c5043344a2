package module

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// wasm returns a module that exports functions by the given names, which do
// nothing. A custom section contains seed, so that contents differ.
func wasm(seed string, exports ...string) []byte {
	var types, functions, names, code bytes.Buffer
	types.Write([]byte{1, 0x60, 0, 0}) // one type: func()
	count(&functions, len(exports))
	count(&names, len(exports))
	count(&code, len(exports))
	for i, name := range exports {
		count(&functions, 0)
		count(&names, len(name))
		names.WriteString(name)
		names.WriteByte(0)
		count(&names, i)
		code.Write([]byte{2, 0, 0x0b}) // size, no locals, end
	}
	var b bytes.Buffer
	b.WriteString("\x00asm\x01\x00\x00\x00")
	put := func(id byte, content []byte) {
		b.WriteByte(id)
		count(&b, len(content))
		b.Write(content)
	}
	put(1, types.Bytes())
	put(3, functions.Bytes())
	put(7, names.Bytes())
	put(10, code.Bytes())
	put(0, append([]byte("\x04seed"), seed...))
	return b.Bytes()
}

// filter returns a module that Inspect accepts as a Proxy-Wasm filter.
func filter(seed string) []byte { return wasm(seed, "proxy_abi_version_0_2_1", "malloc") }

func count(b *bytes.Buffer, n int) { b.Write(binary.AppendUvarint(nil, uint64(n))) }

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
