package transport

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec sends what all streams share as the bytes that it is, and gives messages
// that come in as theirs. Everything else on the same port goes through grpc's
// own codec.
type codec struct{ encoding.CodecV2 }

// outgoing is a message in parts.
type outgoing [][]byte

// received is a message that its reader frees, held one that is its reader's.
type (
	received struct{ mem.Buffer }
	held     []byte
)

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

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
		*m = data.Materialize()
	default:
		return c.CodecV2.Unmarshal(data, v)
	}
	return nil
}
