package definition

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"wasmxds/definition/internal/document"
	"wasmxds/misspelt"
)

const bootstrapType = typePrefix + "envoy.config.bootstrap.v3.Bootstrap"

// bootstrapKind is the Kind of the hole that a bootstrap with errors leaves.
const bootstrapKind = "Bootstrap"

func bootstrapFields() protoreflect.FieldDescriptors {
	return (*bootstrapv3.Bootstrap)(nil).ProtoReflect().Descriptor().Fields()
}

// fieldNamed finds a field of an Envoy message by its JSON or proto name. It
// returns nil if there is none.
func fieldNamed(fields protoreflect.FieldDescriptors, key string) protoreflect.FieldDescriptor {
	if fd := fields.ByJSONName(key); fd != nil {
		return fd
	}
	return fields.ByTextName(key)
}

// isBootstrap reports whether a document is an Envoy bootstrap (envoy.yaml).
func isBootstrap(root *document.Node) bool {
	if root.Kind != document.Object {
		return false
	}
	if at := root.Get("@type"); at != nil {
		return typeName(at) == typeName(&document.Node{Text: bootstrapType})
	}
	for _, other := range notInBootstraps {
		if root.Get(other) != nil {
			return false
		}
	}
	return slices.ContainsFunc(root.Fields, func(f document.Field) bool {
		if fd := fieldNamed(bootstrapFields(), f.Key); fd != nil {
			_, known := onlyBootstraps[fd.TextName()]
			return known
		}
		return misspelt.Nearest(f.Key, []string{"static_resources", "dynamic_resources"}) != ""
	})
}

// notInBootstraps are fields that distinguish other documents from a bootstrap.
var notInBootstraps = []string{"kind", "apiVersion", "module"}

// onlyBootstraps are the fields that only a bootstrap has, each with a hint
// about what to do with it.
var onlyBootstraps = map[string]string{
	"static_resources":     "",
	"dynamic_resources":    "an Envoy has one ADS server: write what it has from there as definitions, too",
	"admin":                "xds-server bootstrap has --admin-address",
	"node":                 "xds-server bootstrap has --node-id, --node-cluster and --node-label",
	"layered_runtime":      intoBootstrap,
	"cluster_manager":      intoBootstrap,
	"stats_sinks":          intoBootstrap,
	"stats_config":         intoBootstrap,
	"bootstrap_extensions": "write a Wasm service as a WasmFilter with place: service, for xds-server bootstrap --wasm-service; else " + intoBootstrap,
	"overload_manager":     intoBootstrap,
}

const intoBootstrap = "move it to a file of its own, and pass that to Envoy with --config-yaml, beside the bootstrap from xds-server bootstrap"

// readStatic reads the resources of a bootstrap, or of a file for Envoy's
// file-based discovery, each as if it were a document with its @type. It
// reports whether the document is such a file.
func (d *Doc) readStatic() bool {
	static, ok := d.staticResources()
	if !ok {
		return false
	}
	adopt(static)
	for _, part := range static {
		if api := part.root.Locate([]string{"api_listener"}); part.at(api) != nil {
			part.Problem(api, "keep it in the Envoys' bootstrap", "can only be in a bootstrap: Envoy takes none from a server")
			continue
		}
		readRaw(part)
	}
	return true
}

// staticResources returns the resources of a bootstrap, or of a file for
// Envoy's file-based discovery. It returns false for any other document.
func (d *Doc) staticResources() ([]*Doc, bool) {
	switch {
	case isBootstrap(d.root):
		return d.ofBootstrap(), true
	case isList(d.root, "listeners", "clusters"):
		return d.ofLists("", d.root), true
	case isList(d.root, "resources"):
		return d.ofResources(), true
	}
	return nil, false
}

// isStatic reports whether a document is such a file.
func isStatic(root *document.Node) bool {
	return isBootstrap(root) || isList(root, "listeners", "clusters", "resources")
}

// isList reports whether a document has at least one of these lists of
// resources, and none of the fields that identify other documents.
func isList(root *document.Node, lists ...string) bool {
	for _, other := range append([]string{"@type"}, notInBootstraps...) {
		if root.Get(other) != nil {
			return false
		}
	}
	return slices.ContainsFunc(lists, func(list string) bool { return root.Get(list) != nil })
}

// ofBootstrap returns the static resources of a bootstrap, and warns about its
// other fields.
func (d *Doc) ofBootstrap() []*Doc {
	if d.ownBootstrap() {
		return nil
	}
	var static []*Doc
	first := map[string]string{}
	for _, f := range d.root.Fields {
		if f.Key == "@type" {
			continue
		}
		fd := fieldNamed(bootstrapFields(), f.Key)
		if fd == nil {
			d.Problem(f.Key, document.Suggest(f.Key, names(bootstrapFields())), "unknown field of Bootstrap")
			continue
		}
		name := fd.TextName()
		if other, twice := first[name]; twice {
			d.Problem(f.Key, "", "is already defined as %s", other)
			continue
		}
		first[name] = f.Key
		switch {
		case f.Value.Kind == document.Null:
		case name == "static_resources":
			static = d.ofLists(f.Key, f.Value)
		default:
			d.Warn(f.Key, cmp.Or(onlyBootstraps[name], intoBootstrap), "belongs in an Envoy's bootstrap, and is ignored here")
			d.file.left = append(d.file.left, d.problems[len(d.problems)-1])
		}
	}
	if len(static) == 0 && !d.Failed() {
		d.Warn("", "xds-server serves the listeners, clusters and secrets in static_resources", "nothing in this bootstrap can be served")
	}
	return static
}

// ownBootstrap rejects a bootstrap that xds-server itself has printed, and
// reports whether it is one.
func (d *Doc) ownBootstrap() bool {
	at := d.root.Locate([]string{"static_resources", "clusters"})
	clusters := d.at(at)
	if clusters == nil {
		return false
	}
	for i, c := range clusters.Items {
		if strings.HasPrefix(document.TextOf(c.Get("name")), reservedClusters) {
			d.Problem(document.Index(at, i), "start Envoy with it, and keep it out of the definitions", "is a cluster that leads to xds-server: this is a bootstrap that xds-server has printed")
			return true
		}
	}
	return false
}

// ofLists returns the resources in the lists of a StaticResources message.
func (d *Doc) ofLists(path string, n *document.Node) []*Doc {
	if n.Kind != document.Object {
		d.Problem(path, "", "%s, needs %s", n.Kind, document.Object)
		return nil
	}
	var parts []*Doc
	fields := (*bootstrapv3.Bootstrap_StaticResources)(nil).ProtoReflect().Descriptor().Fields()
	for _, f := range n.Fields {
		at := document.Join(path, f.Key)
		fd := fieldNamed(fields, f.Key)
		if fd == nil {
			d.Problem(at, document.Suggest(f.Key, names(fields)), "unknown field of StaticResources")
			continue
		}
		parts = append(parts, d.ofList(at, f.Value, typePrefix+string(fd.Message().FullName()))...)
	}
	return parts
}

// ofResources returns the resources of a file for Envoy's file-based discovery.
func (d *Doc) ofResources() []*Doc {
	for _, f := range d.root.Fields {
		switch f.Key {
		case "resources", "version_info", "versionInfo", "type_url", "typeUrl", "nonce":
		default:
			d.Problem(f.Key, "", "unknown field of DiscoveryResponse")
		}
	}
	return d.ofList("resources", d.root.Get("resources"), "")
}

// ofList returns the resources of a list that all have the type url. If url is
// "", each names its own type.
func (d *Doc) ofList(path string, list *document.Node, url string) []*Doc {
	switch list.Kind {
	case document.Null:
		return nil
	case document.List:
		var parts []*Doc
		for i, item := range list.Items {
			parts = append(parts, d.ofList(document.Index(path, i), item, url)...)
		}
		return parts
	case document.Object: // also a single resource in place of a list
	default:
		d.Problem(path, "", "%s, needs %s", list.Kind, document.Object)
		return nil
	}
	has := list.Get("@type")
	switch {
	case has == nil && url == "":
		d.Problem(path, "its first field says what it is: \"@type\": "+listenerType, "has no @type")
		return nil
	case has == nil:
	case url == "":
		url = has.Text
	case typeName(has) != strings.TrimPrefix(url, typePrefix):
		d.Problem(path+".@type", "", "%q is not the type of what stands here, which is %s", has.Text, url)
		return nil
	}
	part := *d
	part.within = document.Join(d.within, path)
	part.root = &document.Node{Kind: document.Object, Line: list.Line, Fields: []document.Field{{Key: "@type", Line: list.Line, Value: textNode(url)}}}
	part.root.Fields = append(part.root.Fields, list.Without("@type").Fields...)
	if url == listenerType {
		part.root = withName(part.root)
	}
	return []*Doc{&part}
}

// withName returns a listener that has a name. If none is written, it uses the
// listener's address: Envoy accepts no listener without a name from a server.
func withName(listener *document.Node) *document.Node {
	name := listenerNameOf(listener)
	if document.TextOf(listener.Get("name")) != "" || name == "" {
		return listener
	}
	named := listener.Without("name")
	named.Fields = append(named.Fields, document.Field{Key: "name", Line: listener.Line, Value: textNode(name)})
	return named
}

// listenerNameOf derives a listener's name from its address. It returns "" if
// the address can't be determined.
func listenerNameOf(item *document.Node) string {
	at := func(steps ...string) string {
		n := item.At(item.Locate(steps))
		if n == nil || n.Kind != document.Text && n.Kind != document.Number {
			return ""
		}
		return n.Text
	}
	host, port := at("address", "socket_address", "address"), at("address", "socket_address", "port_value")
	if host != "" {
		if _, err := strconv.ParseUint(cmp.Or(port, "0"), 10, 16); err == nil {
			return net.JoinHostPort(host, cmp.Or(port, "0"))
		}
	}
	return at("address", "pipe", "path")
}

func names(fields protoreflect.FieldDescriptors) []string {
	var all []string
	for i := range fields.Len() {
		all = append(all, fields.Get(i).TextName())
	}
	return all
}
