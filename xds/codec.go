package xds

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// codec sends responses as the bytes that all streams share and reads requests
// without a message in between. Everything else on the same port goes through
// grpc's own codec.
type codec struct{ encoding.CodecV2 }

// response is a response as it goes out on one stream.
type response struct {
	body  []byte // shared
	nonce string
}

// nonceField is the end of a response: field 5 of both kinds of it.
func nonceField(nonce string) []byte {
	b := protowire.AppendTag(make([]byte, 0, 24), 5, protowire.BytesType)
	return protowire.AppendString(b, nonce)
}

// encoded is a request that is decoded later.
type encoded []byte

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*response)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	return mem.BufferSlice{mem.SliceBuffer(r.body), mem.SliceBuffer(nonceField(r.nonce))}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *request:
		b := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer b.Free()
		if err := v.decode(b.ReadOnlyData()); err != nil {
			return fmt.Errorf("decode discovery request: %w", err)
		}
		return nil
	case *encoded:
		*v = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
