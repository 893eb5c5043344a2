package transport

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec sends shared bytes without copying them, and returns incoming messages as bytes.
// Everything else on the same port uses grpc's own codec.
type codec struct {
	encoding.CodecV2
	firsts leftover
}

// outgoing is a message in parts.
type outgoing [][]byte

// received is a message, which its reader must free. held is a message that may be held for
// long, in a buffer that is no larger than necessary.
type (
	received struct{ mem.Buffer }
	held     struct{ mem.Buffer }
)

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name), make(leftover, maxLeftovers)} }

// leftover contains a few buffers for first messages. These contain Envoy's node message,
// of tens of kilobytes, and a fleet that connects at once sends many. A sync.Pool would
// retain as many as there were at once.
type leftover chan *[]byte

// Limits of the number of buffers, and of their size in bytes. About as many streams begin
// at once, each of which needs one.
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
