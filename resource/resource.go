// Package resource compiles definitions and their modules into what Envoys are
// sent: immutable [Snapshot]s of xDS resources, each marshalled once and
// versioned by its meaning.
//
// Start with [Compile]. It returns a [Catalog] for a whole set of definitions,
// and for that set with some of the changes that are in progress. The Catalog
// returns the Snapshot of a node for its [Choice]. The package is pure: it has
// no clock and no I/O, and the same input gives the same bytes.
package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The type URLs of the xDS resources that are served.
const (
	ClusterType   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType  = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType  = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType     = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	SecretType    = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ExtensionType = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	RuntimeType   = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
)

// Resource is a marshalled xDS resource. It is immutable, and is compared by
// pointer or by Version.
type Resource struct {
	TypeURL string
	Name    string
	Version string // hash of its meaning, 16 hex digits
	Value   []byte // the marshalled message; must not be modified
}

// New marshals m deterministically. The version is a hash of the bytes.
func New(typeURL, name string, m proto.Message) (*Resource, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal %s %q: %w", typeURL, name, err)
	}
	return &Resource{TypeURL: typeURL, Name: name, Version: VersionOf(b), Value: b}, nil
}

// VersionOf returns the version of a resource with this content.
func VersionOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:8])
}

// validatable is a message with the validation rules of Envoy's API.
type validatable interface {
	proto.Message
	ValidateAll() error
}

// check validates m by the rules of Envoy's API and marshals it. An error here
// is better than a NACK from every Envoy.
func check(typeURL, name string, m validatable) (*Resource, error) {
	if err := m.ValidateAll(); err != nil {
		return nil, fmt.Errorf("%s %q is not valid for Envoy: %w", path.Base(typeURL), name, err)
	}
	return New(typeURL, name, m)
}

// withVersion returns r with the version of its meaning.
func (r *Resource) withVersion(m *meaning) *Resource {
	with := *r
	with.Version = m.version()
	return &with
}

// pack is like anypb.New, but deterministic.
func pack(m proto.Message) (*anypb.Any, error) {
	value := new(anypb.Any)
	if err := anypb.MarshalFrom(value, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("marshal %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return value, nil
}

// equal reports whether both are the same to Envoy. Either may be nil.
func (r *Resource) equal(o *Resource) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.TypeURL == o.TypeURL && r.Name == o.Name && r.Version == o.Version
}
