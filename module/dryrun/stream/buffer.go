package stream

import (
	"slices"

	"wasmxds/module/dryrun/abi"
)

// Buffer contains bytes of a body.
type Buffer struct{ bytes []byte }

// NewBuffer returns a buffer that contains b.
func NewBuffer(b []byte) *Buffer { return &Buffer{b} }

// Bytes returns the content, which must not be changed. A nil buffer is empty.
func (b *Buffer) Bytes() []byte {
	if b == nil {
		return nil
	}
	return b.bytes
}

// Set does what proxy_set_buffer_bytes does: it replaces that many bytes at the beginning,
// or appends to the end.
func (b *Buffer) Set(start, length uint32, data []byte) abi.Status {
	size := uint64(len(b.Bytes()))
	switch {
	case b == nil:
		return abi.BadArgument
	case start == 0:
		b.bytes = slices.Concat(data, b.bytes[min(uint64(length), size):])
	case start > 0 && uint64(start) >= size:
		b.bytes = append(b.bytes, data...)
	default:
		return abi.BadArgument
	}
	return abi.OK
}

// move appends the content of another buffer.
func (b *Buffer) move(other *Buffer) {
	b.bytes = append(b.bytes, other.bytes...)
	other.bytes = nil
}
