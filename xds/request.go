package xds

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"wasmxds/definition"
	"wasmxds/xds/swap"
)

// request is a DiscoveryRequest or a DeltaDiscoveryRequest.
type request struct {
	swap.Request
	delta   bool    // which of the two it is; set before decoding
	of      *client // the stream's client; set before decoding; nil for the first request of a stream
	typeURL string
	node    *node // nil: unchanged

	// In the state-of-the-world protocol each request repeats all names and versions. Names
	// that are the same as before are not allocated again. The type of a request comes after
	// its names, and is usually that of the request before.
	likely swap.Type // set before decoding
	before []string
	same   int  // number of leading names that are the same as in before, so far
	asked  bool // a request for this type came before

	names  int  // number of names, including those of initial versions
	excess bool // it has more than maxNames; the rest was dropped
	long   bool // a text is longer than maxLength; it was dropped
}

// node is the part of an Envoy's node message that is kept: its list of extensions alone
// has tens of kilobytes.
type node struct {
	definition.Node
	elsewhere    bool // its bootstrap lists several replicas
	version      string
	services     []startedWith
	drainTime    time.Duration
	drainWarning error  // why drainTime is not taken from its metadata
	metadata     []byte // until it is decoded
}

var errWire = errors.New("not a valid protobuf message")

// fields calls f with each field of a message. value is the content of a length-delimited
// field, and nil for fields of other types.
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
	if err := r.read(b); err != nil {
		return err
	}
	return r.readMetadata()
}

// read decodes everything except for the node's metadata, and refers to nothing of b.
func (r *request) read(b []byte) error {
	for {
		*r = request{delta: r.delta, of: r.of, likely: r.likely}
		r.Type = swap.Types // until the type URL is decoded
		each := r.deltaField
		if !r.delta {
			each = r.sotwField
			r.recall()
		}
		if err := fields(b, each); err != nil {
			return err
		}
		if r.delta || r.of == nil || r.Type == r.likely || r.Type == swap.Types {
			return nil
		}
		r.likely = r.Type
	}
}

// readMetadata decodes what read has left out: it takes more memory and time than the rest.
func (r *request) readMetadata() error {
	if r.node == nil {
		return nil
	}
	return r.node.readMetadata()
}

// recall looks up the names that the stream subscribed to before for the likely type.
func (r *request) recall() {
	if r.of != nil {
		r.before, r.asked = r.of.asked(r.likely)
	}
}

// sotwField decodes a field of envoy.service.discovery.v3.DiscoveryRequest.
func (r *request) sotwField(num protowire.Number, value []byte) error {
	switch num {
	case 1:
		if !r.asked { // it shows what a reconnecting Envoy has
			r.Version = r.text(value)
		}
	case 2:
		return r.setNode(value)
	case 3:
		r.name(&r.Names, value)
	case 4:
		r.setType(value)
	case 5:
		r.Nonce = r.text(value)
	case 6:
		return r.setError(value)
	}
	return nil
}

// deltaField decodes a field of envoy.service.discovery.v3.DeltaDiscoveryRequest.
func (r *request) deltaField(num protowire.Number, value []byte) error {
	switch num {
	case 1:
		return r.setNode(value)
	case 2:
		r.setType(value)
	case 3:
		r.name(&r.Subscribe, value)
	case 4:
		r.name(&r.Unsubscribe, value)
	case 5:
		return r.setInitial(value)
	case 6:
		r.Nonce = r.text(value)
	case 7:
		return r.setError(value)
	}
	return nil
}

// name appends a resource name to a list, within the limits.
func (r *request) name(list *[]string, value []byte) {
	if !r.keeps(value) {
		return
	}
	if n := len(*list); n == r.same && n < len(r.before) && r.before[n] == string(value) {
		r.same = n + 1
		*list = r.before[:r.same:r.same] // appending to it copies it
		return
	}
	*list = append(*list, string(value))
}

// keeps reports whether one more name is within the limits.
func (r *request) keeps(name []byte) bool {
	r.names++
	r.excess = r.excess || r.names > maxNames
	r.long = r.long || len(name) > maxLength
	return !r.excess && !r.long
}

// setInitial decodes an entry of initial_resource_versions.
func (r *request) setInitial(value []byte) error {
	var name, version []byte
	if err := fields(value, func(num protowire.Number, b []byte) error {
		switch num {
		case 1:
			name = b
		case 2:
			version = b
		}
		return nil
	}); err != nil {
		return err
	}
	if !r.keeps(name) || len(version) > maxLength {
		return nil
	}
	if r.Initial == nil {
		r.Initial = map[string]string{}
	}
	r.Initial[string(name)] = string(version)
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

// setError decodes a google.rpc.Status. As usual for protobuf, a repeated message is
// merged.
func (r *request) setError(value []byte) error {
	r.Failed = true
	return fields(value, func(num protowire.Number, b []byte) error {
		if num == 2 {
			r.Error = strings.ToValidUTF8(string(b[:min(len(b), maxLength)]), "")
			if len(b) > maxLength {
				r.Error = strings.TrimRight(r.Error, "\n") // a message of whole lines counts as complete
			}
		}
		return nil
	})
}

// setNode decodes an envoy.config.core.v3.Node.
func (r *request) setNode(value []byte) error {
	if r.node == nil {
		r.node = &node{}
	}
	n := r.node
	return fields(value, func(num protowire.Number, b []byte) error {
		switch num {
		case 1:
			n.ID = r.text(b)
		case 2:
			n.Cluster = r.text(b)
		case 3:
			n.metadata = append(n.metadata, b...)
		case 7:
			n.version = r.text(b)
		case 8:
			return n.readVersion(b)
		}
		return nil
	})
}

// readVersion decodes the version of an envoy.config.core.v3.BuildVersion.
func (n *node) readVersion(build []byte) error {
	return fields(build, func(num protowire.Number, b []byte) error {
		if num != 1 {
			return nil
		}
		var v typev3.SemanticVersion
		if err := proto.Unmarshal(b, &v); err != nil {
			return fmt.Errorf("node.user_agent_build_version: %w", err)
		}
		n.version = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
		return nil
	})
}

// text returns a string within the limits.
func (r *request) text(b []byte) string {
	if len(b) > maxLength {
		r.long = true
		return ""
	}
	return string(b)
}

func (n *node) readMetadata() error {
	var meta structpb.Struct
	if err := proto.Unmarshal(n.metadata, &meta); err != nil {
		return fmt.Errorf("node.metadata: %w", err)
	}
	n.Labels, n.metadata = labels(&meta), nil
	n.drainTime, n.drainWarning = drainTime(&meta)
	n.elsewhere, n.services = reaches(&meta), services(&meta)
	return nil
}

// labels returns node.metadata.LABELS, as Istio's agent writes them, and
// node.metadata.labels; and the namespace, which only node.metadata.NAMESPACE can set.
func labels(meta *structpb.Struct) map[string]string {
	var out map[string]string
	set := func(key, value string) {
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	for _, key := range []string{"LABELS", "labels"} {
		for k, v := range meta.GetFields()[key].GetStructValue().GetFields() {
			if s, ok := v.GetKind().(*structpb.Value_StringValue); ok && k != definition.NamespaceLabel {
				set(k, s.StringValue)
			}
		}
	}
	if namespace := meta.GetFields()["NAMESPACE"].GetStringValue(); namespace != "" {
		set(definition.NamespaceLabel, namespace)
	}
	return out
}
