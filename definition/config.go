package definition

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition/internal/document"
)

// config turns what a filter is configured with into what Envoy hands to it:
// text as it is, a mapping or list as compact JSON with sorted keys, both in a
// StringValue (the filter gets the bare bytes); a mapping with @type is that
// message.
func (d *Doc) config(path string, n *document.Node) *anypb.Any {
	switch {
	case n == nil:
		return nil
	case n.Get("@type") != nil:
		made := &anypb.Any{}
		if !d.Message(path, n, made) {
			return nil
		}
		return made
	case n.Kind == document.Text:
		return TextConfig(n.Text)
	default:
		return TextConfig(string(n.JSON()))
	}
}

func TextConfig(text string) *anypb.Any {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(wrapperspb.String(text))
	if err != nil { // cannot be: documents are UTF-8
		return nil
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.StringValue", Value: value}
}
