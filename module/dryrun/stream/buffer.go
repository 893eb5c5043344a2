package stream

import (
	"slices"

	"wasmxds/module/dryrun/abi"
)

// Buffer has bytes of a body.
type Buffer struct{ bytes []byte }

// NewBuffer makes a buffer of bytes.
func NewBuffer(b []byte) *Buffer { return &Buffer{b} }

// Bytes are what is in it; they are not to be changed. A buffer that isn't
// there is empty.
func (b *Buffer) Bytes() []byte {
	if b == nil {
		return nil
	}
	return b.bytes
}

// Set is what proxy_set_buffer_bytes does: it puts data in place of so many bytes
// in front, or behind all.
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

// move puts what is in another buffer behind all that is here.
func (b *Buffer) move(other *Buffer) {
	b.bytes = append(b.bytes, other.bytes...)
	other.bytes = nil
}
