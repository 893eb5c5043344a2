package xds

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/definition"
	"wasmxds/xds/swap"
)

// request is a DiscoveryRequest or a DeltaDiscoveryRequest.
type request struct {
	swap.Request
	delta   bool // which of the two it is; set before decoding
	typeURL string
	node    *node // nil: as before
	names   int   // in it, so far
}

// node is what is kept of an Envoy's node message: its list of extensions
// alone has tens of kilobytes.
type node struct {
	definition.Node
	agent string // "envoy"
}

var errWire = errors.New("not a valid protobuf message")

// fields calls f with each field of a message. Value is the content of a
// length-delimited field and nil for others.
func fields(b []byte, f func(num protowire.Number, value []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errWire
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if err := f(num, value); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) decode(b []byte) error {
	*r = request{delta: r.delta}
	if r.delta {
		return fields(b, r.deltaField)
	}
	return fields(b, r.sotwField)
}

// sotwField reads a field of envoy.service.discovery.v3.DiscoveryRequest.
func (r *request) sotwField(num protowire.Number, value []byte) error {
	switch num {
	case 1:
		r.Version = string(value)
	case 2:
		return r.setNode(value)
	case 3:
		r.Names = append(r.Names, string(value))
		return r.count(value)
	case 4:
		r.setType(value)
	case 5:
		r.Nonce = string(value)
	case 6:
		return r.setError(value)
	}
	return nil
}

// deltaField reads a field of envoy.service.discovery.v3.DeltaDiscoveryRequest.
func (r *request) deltaField(num protowire.Number, value []byte) error {
	switch num {
	case 1:
		return r.setNode(value)
	case 2:
		r.setType(value)
	case 3:
		r.Subscribe = append(r.Subscribe, string(value))
		return r.count(value)
	case 4:
		r.Unsubscribe = append(r.Unsubscribe, string(value))
		return r.count(value)
	case 5:
		var k, v string
		if err := fields(value, func(num protowire.Number, b []byte) error {
			switch num {
			case 1:
				k = string(b)
			case 2:
				v = string(b)
			}
			return nil
		}); err != nil {
			return err
		}
		if r.Initial == nil {
			r.Initial = map[string]string{}
		}
		r.Initial[k] = v
		return r.count(value)
	case 6:
		r.Nonce = string(value)
	case 7:
		return r.setError(value)
	}
	return nil
}

// setType avoids an allocation for the types that are served.
func (r *request) setType(value []byte) {
	for t := range swap.Types {
		if t.URL() == string(value) {
			r.typeURL, r.Type = t.URL(), t
			return
		}
	}
	r.typeURL, r.Type = string(value), swap.Types
}

// setError reads a google.rpc.Status.
func (r *request) setError(value []byte) error {
	r.Failed = true
	return fields(value, func(num protowire.Number, b []byte) error {
		if num == 2 {
			r.Error = string(b)
		}
		return nil
	})
}

// setNode reads an envoy.config.core.v3.Node.
func (r *request) setNode(value []byte) error {
	n := &node{}
	r.node = n
	return fields(value, func(num protowire.Number, b []byte) error {
		switch num {
		case 1:
			n.ID = string(b)
		case 2:
			n.Cluster = string(b)
		case 3:
			var meta structpb.Struct
			if err := proto.Unmarshal(b, &meta); err != nil {
				return err
			}
			n.Labels = labels(&meta)
		case 6:
			n.agent = string(b)
		}
		return nil
	})
}

// labels are node.metadata.LABELS, as Istio's agent writes them, and
// node.metadata.labels.
func labels(meta *structpb.Struct) map[string]string {
	var out map[string]string
	for _, key := range []string{"LABELS", "labels"} {
		for k, v := range meta.GetFields()[key].GetStructValue().GetFields() {
			if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
				if out == nil {
					out = map[string]string{}
				}
				out[k] = s.StringValue
			}
		}
	}
	return out
}
