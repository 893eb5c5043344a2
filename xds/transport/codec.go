package transport

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec sends what all streams share as the bytes that it is, and gives messages
// that come in as theirs. Everything else on the same port goes through grpc's
// own codec.
type codec struct {
	encoding.CodecV2
	firsts leftover
}

// outgoing is a message in parts.
type outgoing [][]byte

// received is a message, which its reader frees; held is one that may be held for
// long, and is no larger than it has to be.
type (
	received struct{ mem.Buffer }
	held     struct{ mem.Buffer }
)

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name), make(leftover, maxLeftovers)} }

// leftover are a few buffers of first messages: Envoy's node message, which is in
// the first, has tens of kilobytes, and a fleet that comes at once brings many. A
// sync.Pool would go on holding as many as there were at once.
type leftover chan *[]byte

// What is kept: so many buffers, none larger than so many bytes. As many streams as
// begin at once ask for one each.
const (
	maxLeftovers = 64
	maxLeftover  = 128 << 10
)

func (l leftover) Get(size int) *[]byte {
	select {
	case b := <-l:
		if cap(*b) >= size {
			*b = (*b)[:size]
			return b
		}
	default:
	}
	const unit = 4 << 10
	b := make([]byte, size, (size+unit-1)/unit*unit)
	return &b
}

func (l leftover) Put(b *[]byte) {
	if cap(*b) > maxLeftover {
		return
	}
	select {
	case l <- b:
	default:
	}
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(outgoing)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	parts := make(mem.BufferSlice, len(m))
	for i, p := range m {
		parts[i] = mem.SliceBuffer(p)
	}
	return parts, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *received:
		m.Buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	case *held:
		b := c.firsts.Get(data.Len())
		data.CopyTo(*b)
		m.Buffer = mem.NewBuffer(b, c.firsts)
	default:
		return c.CodecV2.Unmarshal(data, v)
	}
	return nil
}
