package intern

import (
	"strconv"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"wasmxds/resource"
)

// Response is a discovery response without its nonce. It is immutable, and shared by all
// machines that take the same step from the same Acked.
type Response[A any] struct {
	Type      Type
	Delta     bool
	Resources []*resource.Resource
	Removed   []string // only in delta

	From    *Acked[A] // what the Envoy had before
	To      *Acked[A] // what the Envoy has once it ACKs
	Changed []Item    // what is new in To
	Gone    []string  // what is no longer in To
	once    sync.Once
	body    []byte
}

// Field numbers of envoy.service.discovery.v3 DiscoveryResponse and
// DeltaDiscoveryResponse (the same where both have the field), of Resource
// and of google.protobuf.Any.
const (
	fieldVersion   = 1
	fieldResources = 2
	fieldTypeURL   = 4
	fieldRemoved   = 6

	resourceVersion = 1
	resourceBody    = 2
	resourceName    = 3

	anyTypeURL = 1
	anyValue   = 2
)

// Version returns the response's version_info or system_version_info.
func (r *Response[A]) Version() string { return r.To.Version() }

// Body returns the encoded response without its nonce. It is encoded once and shared; the
// caller must not change it.
func (r *Response[A]) Body() []byte {
	r.once.Do(func() {
		b := make([]byte, 0, r.size())
		b = protowire.AppendTag(b, fieldVersion, protowire.BytesType)
		if r.Delta {
			// Only for people; resources have their own versions.
			b = protowire.AppendString(b, strconv.Itoa(len(r.To.Items)))
		} else {
			b = protowire.AppendString(b, r.Version())
		}
		b = protowire.AppendTag(b, fieldTypeURL, protowire.BytesType)
		b = protowire.AppendString(b, r.Type.URL())
		for _, res := range r.Resources {
			b = protowire.AppendTag(b, fieldResources, protowire.BytesType)
			b = protowire.AppendVarint(b, uint64(r.lenOf(res)))
			if r.Delta {
				b = protowire.AppendTag(b, resourceVersion, protowire.BytesType)
				b = protowire.AppendString(b, res.Version)
				b = protowire.AppendTag(b, resourceName, protowire.BytesType)
				b = protowire.AppendString(b, res.Name)
				b = protowire.AppendTag(b, resourceBody, protowire.BytesType)
				b = protowire.AppendVarint(b, uint64(lenAny(res)))
			}
			b = protowire.AppendTag(b, anyTypeURL, protowire.BytesType)
			b = protowire.AppendString(b, res.TypeURL)
			b = protowire.AppendTag(b, anyValue, protowire.BytesType)
			b = protowire.AppendBytes(b, res.Value)
		}
		for _, name := range r.Removed {
			b = protowire.AppendTag(b, fieldRemoved, protowire.BytesType)
			b = protowire.AppendString(b, name)
		}
		r.body = b
	})
	return r.body
}

func lenAny(res *resource.Resource) int {
	return protowire.SizeTag(anyTypeURL) + protowire.SizeBytes(len(res.TypeURL)) +
		protowire.SizeTag(anyValue) + protowire.SizeBytes(len(res.Value))
}

func (r *Response[A]) lenOf(res *resource.Resource) int {
	if !r.Delta {
		return lenAny(res)
	}
	return protowire.SizeTag(resourceVersion) + protowire.SizeBytes(len(res.Version)) +
		protowire.SizeTag(resourceName) + protowire.SizeBytes(len(res.Name)) +
		protowire.SizeTag(resourceBody) + protowire.SizeBytes(lenAny(res))
}

// size returns at least the body's length, so that one allocation is enough.
func (r *Response[A]) size() int {
	n := 32 + len(r.Type.URL())
	if !r.Delta {
		n += len(r.Version())
	}
	for _, res := range r.Resources {
		n += r.lenOf(res) + 8
	}
	for _, name := range r.Removed {
		n += len(name) + 8
	}
	return n
}
