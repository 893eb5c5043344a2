package definition

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"wasmxds/definition/internal/document"
)

// adoption rewrites a resource from an Envoy's bootstrap so that a server can
// send it.
//
// In a bootstrap, listeners and clusters name its secrets without saying where
// they come from. Here, each reference names ADS as its source. Filters that
// Envoy finds by name alone, as old versions did, are errors.
type adoption struct {
	secrets []string // names of the static secrets
	part    *Doc
}

// adopt rewrites the static resources of a bootstrap so that a server can send
// them.
func adopt(static []*Doc) {
	var secrets []string
	for _, part := range static {
		if part.root.Get("@type").Text == secretType {
			secrets = append(secrets, document.TextOf(part.root.Get("name")))
		}
	}
	for _, part := range static {
		if of := messageType(part.root); of != nil {
			a := &adoption{secrets, part}
			part.root = a.message(part.root, of, "")
		}
	}
}

func (a *adoption) message(n *document.Node, of protoreflect.MessageDescriptor, path string) *document.Node {
	if n.Kind != document.Object {
		return n
	}
	switch name := of.FullName(); name {
	case "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig":
		return a.secret(n, path)
	case "envoy.config.listener.v3.Filter", "envoy.config.listener.v3.ListenerFilter",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter":
		a.filter(n, path)
	case "google.protobuf.Any":
		inner := messageType(n)
		if inner == nil || inner.FullName() == name {
			return n
		}
		return a.message(n, inner, path)
	case "xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct":
		url, value := document.TextOf(n.Child(n.Locate([]string{"type_url"}))), n.Get("value")
		if inner, err := protoregistry.GlobalTypes.FindMessageByURL(url); err == nil && value != nil {
			return with(n, "value", a.message(value, inner.Descriptor(), document.Join(path, "value")))
		}
		return n
	}
	if isShort(of.FullName()) {
		return n
	}
	for _, f := range n.Fields {
		if fd := fieldNamed(of.Fields(), f.Key); fd != nil {
			n = with(n, f.Key, a.field(f.Value, fd, document.Join(path, f.Key)))
		}
	}
	return n
}

func (a *adoption) field(n *document.Node, fd protoreflect.FieldDescriptor, path string) *document.Node {
	of := fd.Message()
	if fd.IsMap() {
		if of = fd.MapValue().Message(); of == nil || n.Kind != document.Object {
			return n
		}
		for _, f := range n.Fields {
			n = with(n, f.Key, a.message(f.Value, of, document.Join(path, f.Key)))
		}
		return n
	}
	if of == nil || n.Kind != document.List {
		if of == nil {
			return n
		}
		return a.message(n, of, path)
	}
	items := slices.Clone(n.Items)
	for i, item := range items {
		items[i] = a.message(item, of, document.Index(path, i))
	}
	if slices.Equal(items, n.Items) {
		return n
	}
	made := *n
	made.Items = items
	return &made
}

func (a *adoption) secret(n *document.Node, path string) *document.Node {
	name := document.TextOf(n.Get("name"))
	if name == "" || n.Child(n.Locate([]string{"sds_config"})) != nil {
		return n
	}
	if !slices.Contains(a.secrets, name) {
		a.part.Warn(document.Join(path, "name"), inBootstrap, "there is no secret %q among the static ones", name)
		return n
	}
	field := func(key string, value *document.Node) document.Field {
		value.Line = n.Line
		return document.Field{Key: key, Line: n.Line, Value: value}
	}
	made := *n
	made.Fields = append(slices.Clip(n.Fields), field("sds_config", &document.Node{Kind: document.Object, Fields: []document.Field{
		field("ads", &document.Node{Kind: document.Object}),
		field("resource_api_version", textNode("V3")),
		field("initial_fetch_timeout", textNode("0s")), // wait for the secret: no listener goes live without it
	}}))
	return &made
}

func (a *adoption) filter(n *document.Node, path string) {
	for _, field := range []string{"typed_config", "config_discovery", "config"} { // the last one is an unknown field today
		if n.Child(n.Locate([]string{field})) != nil {
			return
		}
	}
	hint := "it says by its @type which filter it is"
	if document.TextOf(n.Get("name")) == "envoy.filters.http.router" {
		hint = `write typed_config: {"@type": ` + typePrefix + "envoy.extensions.filters.http.router.v3.Router}"
	}
	a.part.Problem(path, hint, "has no typed_config, and Envoy finds no filter by its name any more")
}

// with returns a copy of an object in which one field has another value, or n
// itself if the field already has that value.
func with(n *document.Node, key string, value *document.Node) *document.Node {
	i := slices.IndexFunc(n.Fields, func(f document.Field) bool { return f.Key == key })
	if n.Fields[i].Value == value {
		return n
	}
	made := *n
	made.Fields = slices.Clone(n.Fields)
	made.Fields[i].Value = value
	return &made
}
