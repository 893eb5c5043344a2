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
	of      *client // whose it is, likewise; nil: it is a stream's first
	typeURL string
	node    *node // nil: as before

	// In state of the world each request repeats all names and versions: what
	// is as it was before is not made anew.
	before []string
	same   int  // how many names are those of before, up to now
	asked  bool // for this type, before

	names  int  // in it, versions of what is there included
	excess bool // it has more of them than maxNames; no more were kept
	long   bool // one of them is longer than maxLength; it was not kept
}

// node is what is kept of an Envoy's node message: its list of extensions
// alone has tens of kilobytes.
type node struct {
	definition.Node
	elsewhere    bool // it knows several servers
	version      string
	services     []startedWith
	drainTime    time.Duration
	drainWarning error  // why drainTime is not what its metadata tell
	metadata     []byte // while it is decoded
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
	*r = request{delta: r.delta, of: r.of}
	r.Type = swap.Types // until it says which
	each := r.deltaField
	if !r.delta {
		each = r.sotwField
		if err := r.recall(b); err != nil {
			return err
		}
	}
	if err := fields(b, each); err != nil {
		return err
	}
	if r.node != nil {
		return r.node.readMetadata()
	}
	return nil
}

// recall finds what was asked for before of a request's type.
func (r *request) recall(b []byte) error {
	if r.of == nil {
		return nil
	}
	err := fields(b, func(num protowire.Number, value []byte) error {
		if num == 4 {
			r.setType(value)
		}
		return nil
	})
	if r.Type != swap.Types {
		r.before, r.asked = r.of.asked(r.Type)
	}
	return err
}

// sotwField reads a field of envoy.service.discovery.v3.DiscoveryRequest.
func (r *request) sotwField(num protowire.Number, value []byte) error {
	switch num {
	case 1:
		if !r.asked { // it tells what an Envoy has that comes again
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

// deltaField reads a field of envoy.service.discovery.v3.DeltaDiscoveryRequest.
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

// name adds a resource name to a list, within the limits.
func (r *request) name(list *[]string, value []byte) {
	if !r.keeps(value) {
		return
	}
	if n := len(*list); n == r.same && n < len(r.before) && r.before[n] == string(value) {
		r.same = n + 1
		*list = r.before[:r.same:r.same] // to append to it is to copy it
		return
	}
	*list = append(*list, string(value))
}

// keeps tells whether one more name is within the limits.
func (r *request) keeps(name []byte) bool {
	r.names++
	r.excess = r.excess || r.names > maxNames
	r.long = r.long || len(name) > maxLength
	return !r.excess && !r.long
}

// setInitial reads an entry of initial_resource_versions.
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

// setError reads a google.rpc.Status. As with all messages, one that comes
// twice is merged.
func (r *request) setError(value []byte) error {
	r.Failed = true
	return fields(value, func(num protowire.Number, b []byte) error {
		if num == 2 {
			r.Error = strings.ToValidUTF8(string(b[:min(len(b), maxLength)]), "")
		}
		return nil
	})
}

// setNode reads an envoy.config.core.v3.Node.
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

// readVersion reads the number out of an envoy.config.core.v3.BuildVersion.
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

// text is a string within the limits.
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

// labels are node.metadata.LABELS, as Istio's agent writes them, and
// node.metadata.labels; and the namespace, which is node.metadata.NAMESPACE alone.
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
