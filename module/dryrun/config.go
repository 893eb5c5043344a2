package dryrun

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// plain gives a configuration as the module sees it: strings and bytes
// without their wrapper, a Struct as JSON, all else as it is on the wire
// (envoy.extensions.wasm.v3.PluginConfig).
func plain(config *anypb.Any) ([]byte, error) {
	if config == nil {
		return nil, nil
	}
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
	case config.MessageIs((*structpb.Struct)(nil)):
		var s structpb.Struct
		if err := config.UnmarshalTo(&s); err != nil {
			return nil, fmt.Errorf("read struct: %w", err)
		}
		return protojson.Marshal(&s)
	}
	return config.Value, nil
}
