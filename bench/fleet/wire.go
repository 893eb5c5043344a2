package fleet

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// kind is one of the xDS types that the Envoys subscribe to.
type kind uint8

const (
	clusters kind = iota
	listeners
	routes
	extensions
	kinds // how many there are
)

var typeURLs = [kinds]string{
	"type.googleapis.com/envoy.config.cluster.v3.Cluster",
	"type.googleapis.com/envoy.config.listener.v3.Listener",
	"type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
	"type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
}

// wholeState reports whether a state-of-the-world response of this type has all
// resources, so that a missing one is removed.
func (k kind) wholeState() bool { return k == clusters || k == listeners }

// request is a DiscoveryRequest or a DeltaDiscoveryRequest of
// envoy/service/discovery/v3/discovery.proto.
type request struct {
	kind    kind
	node    []byte // envoy.config.core.v3.Node; empty: not sent
	nonce   string
	refused string // why the response is rejected; "": it is acknowledged

	version string   // state of the world
	names   []string // state of the world: all; delta: the new ones
	gone    []string // delta: those that are no longer needed
	initial map[string]string
}

func (r *request) append(b []byte, delta bool) []byte {
	if delta {
		return r.appendDelta(b)
	}
	b = appendString(b, 1, r.version)
	b = appendBytes(b, 2, r.node)
	for _, n := range r.names {
		b = appendString(b, 3, n)
	}
	b = appendString(b, 4, typeURLs[r.kind])
	b = appendString(b, 5, r.nonce)
	return appendBytes(b, 6, r.status())
}

func (r *request) appendDelta(b []byte) []byte {
	b = appendBytes(b, 1, r.node)
	b = appendString(b, 2, typeURLs[r.kind])
	for _, n := range r.names {
		b = appendString(b, 3, n)
	}
	for _, n := range r.gone {
		b = appendString(b, 4, n)
	}
	for name, version := range r.initial {
		b = appendBytes(b, 5, appendString(appendString(nil, 1, name), 2, version))
	}
	b = appendString(b, 6, r.nonce)
	return appendBytes(b, 7, r.status())
}

// status returns a google.rpc.Status with INTERNAL and the message, as Envoy sends it.
func (r *request) status() []byte {
	if r.refused == "" {
		return nil
	}
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, 13)
	return appendString(b, 2, r.refused)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendBytes(b []byte, num protowire.Number, s []byte) []byte {
	if len(s) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), s)
}

// response is a DiscoveryResponse or a DeltaDiscoveryResponse. It refers to the
// bytes that it was decoded from.
type response struct {
	kind      kind
	version   []byte
	nonce     []byte
	resources []wireResource // reused
	removed   [][]byte
}

// wireResource is a resource. Only delta has name and version.
type wireResource struct {
	name, version, value []byte
}

var errWire = errors.New("the server sent what is no protobuf message")

// decode reads b. Fields have the same numbers in both messages.
func (r *response) decode(b []byte, delta bool) error {
	*r = response{kind: kinds, resources: r.resources[:0], removed: r.removed[:0]}
	return fields(b, func(num protowire.Number, value []byte) error {
		switch num {
		case 1:
			r.version = value
		case 2:
			res := wireResource{}
			var err error
			if delta {
				err = res.decode(value)
			} else {
				err = res.decodeAny(value)
			}
			r.resources = append(r.resources, res)
			return err
		case 4:
			for k, url := range typeURLs {
				if url == string(value) {
					r.kind = kind(k)
				}
			}
		case 5:
			r.nonce = value
		case 6:
			r.removed = append(r.removed, value)
		}
		return nil
	})
}

func (r *wireResource) decode(b []byte) error {
	return fields(b, func(num protowire.Number, value []byte) error {
		switch num {
		case 1:
			r.version = value
		case 2:
			return r.decodeAny(value)
		case 3:
			r.name = value
		}
		return nil
	})
}

func (r *wireResource) decodeAny(b []byte) error {
	return fields(b, func(num protowire.Number, value []byte) error {
		if num == 2 {
			r.value = value
		}
		return nil
	})
}

// fields calls f with each length-delimited field of a message.
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
