package dryrun

import (
	"fmt"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// plain returns a configuration as the module gets it: strings and bytes without their
// wrapper, everything else in wire format. According to the documentation of
// envoy.extensions.wasm.v3.PluginConfig, a Struct becomes JSON. In Envoy 1.36.2 and 1.40.0,
// it does not.
func plain(typeURL string, value []byte) ([]byte, error) {
	config := &anypb.Any{TypeUrl: typeURL, Value: value}
	switch {
	case config.MessageIs((*wrapperspb.StringValue)(nil)):
		var s wrapperspb.StringValue
		if err := config.UnmarshalTo(&s); err != nil {
			return nil, fmt.Errorf("read string: %w", err)
		}
		return []byte(s.Value), nil
	case config.MessageIs((*wrapperspb.BytesValue)(nil)):
		var b wrapperspb.BytesValue
		if err := config.UnmarshalTo(&b); err != nil {
			return nil, fmt.Errorf("read bytes: %w", err)
		}
		return b.Value, nil
	}
	return value, nil
}
