package floor

import (
	"google.golang.org/protobuf/encoding/protowire"

	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// Field numbers of type_url in DiscoveryRequest and DeltaDiscoveryRequest.
const (
	sotwTypeURL  = 4
	deltaTypeURL = 2
)

// read finds the type URL among the fields of a request.
func (t *typeOf) read(b []byte) error {
	want := protowire.Number(sotwTypeURL)
	if t.delta {
		want = deltaTypeURL
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		if num == want && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b[n:])
			t.url = known(value)
			return nil
		}
		b = b[n+size:]
	}
	return nil
}

// known gives the type URL without an allocation.
func known(b []byte) string {
	for _, url := range [...]string{
		resourcev3.ClusterType, resourcev3.ListenerType, resourcev3.ExtensionConfigType, resourcev3.RouteType,
	} {
		if url == string(b) {
			return url
		}
	}
	return string(b)
}
