package definition

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition/internal/document"
)

// config converts the configuration of a filter into what Envoy passes to it.
// Text is passed unchanged, and a mapping or list as compact JSON with sorted
// keys. Both become a StringValue, of which the filter gets the bare bytes. A
// mapping with @type becomes that message.
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

// configFrom returns the configuration from a Secret, a ConfigMap or a file.
// The source has delivered its content together with the document.
func (d *Doc) configFrom(from *configFrom, both bool) *anypb.Any {
	at := "configFrom.secret"
	if from.ConfigMap != nil {
		at = "configFrom.configMap"
	}
	switch given := d.object.Get("given"); {
	case both:
		d.Problem("configFrom", "", "can't be combined with config")
	case from.File != nil && (from.Secret != nil || from.ConfigMap != nil):
		d.Problem("configFrom", "", "needs file, secret or configMap, one of them")
	case from.File != nil:
		return d.configFile(*from.File)
	case (from.Secret == nil) == (from.ConfigMap == nil):
		which := "file, secret or configMap"
		if d.InCluster() {
			which = "secret or configMap"
		}
		d.Problem("configFrom", "", "needs %s, one of them", which)
	case from.of().Name == "" || from.of().Key == "": // Decode has reported it
	case !d.InCluster():
		d.Problem(at, "write it into config, or a file: configFrom.file", "is for objects that xds-server reads from a Kubernetes cluster")
	case given.Get("missing") != nil:
		d.Problem(at, "", "%s", document.TextOf(given.Get("missing")))
	case given.Get("value") != nil:
		return TextConfig(document.TextOf(given.Get("value")))
	default:
		d.Problem(at, "", "is not read yet")
	}
	return nil
}

// of returns the key that configFrom names.
func (f *configFrom) of() *objectKey {
	if f.ConfigMap != nil {
		return f.ConfigMap
	}
	return f.Secret
}

func TextConfig(text string) *anypb.Any {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(wrapperspb.String(text))
	if err != nil { // can't happen: documents are UTF-8
		return nil
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.StringValue", Value: value}
}
