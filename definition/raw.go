package definition

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"wasmxds/definition/internal/document"
)

const typePrefix = "type.googleapis.com/"

// The type URLs of the raw resources that get further checks.
const (
	clusterType   = typePrefix + "envoy.config.cluster.v3.Cluster"
	listenerType  = typePrefix + "envoy.config.listener.v3.Listener"
	routeType     = typePrefix + "envoy.config.route.v3.RouteConfiguration"
	endpointsType = typePrefix + "envoy.config.endpoint.v3.ClusterLoadAssignment"
	extensionType = typePrefix + "envoy.config.core.v3.TypedExtensionConfig"
	secretType    = typePrefix + "envoy.extensions.transport_sockets.tls.v3.Secret"
)

// rawTypes returns the types of resources that may be written as Envoy has
// them.
func rawTypes() []proto.Message {
	return []proto.Message{
		&listenerv3.Listener{}, &clusterv3.Cluster{}, &routev3.RouteConfiguration{},
		&endpointv3.ClusterLoadAssignment{}, &tlsv3.Secret{}, &corev3.TypedExtensionConfig{},
	}
}

// readRaw reads an Envoy resource in its own JSON form.
func readRaw(d *Doc) {
	url := d.root.Get("@type").Text
	var m proto.Message
	var names []string
	for _, known := range rawTypes() {
		name := string(known.ProtoReflect().Descriptor().FullName())
		names = append(names, typePrefix+name)
		if url == typePrefix+name || url == name {
			m = known
		}
	}
	if m == nil {
		hint := document.Suggest(url, names)
		short, _ := strings.CutPrefix(url, typePrefix)
		if i := slices.IndexFunc(rawTypes(), func(m proto.Message) bool { // config.Listener.v2 and the like
			return short[strings.LastIndex(short, ".")+1:] == string(m.ProtoReflect().Descriptor().Name())
		}); i >= 0 {
			hint = "did you mean " + names[i] + "?"
		}
		d.Problem("@type", hint, "%q is not a resource that can be served", url)
		return
	}
	if extension, ok := m.(*corev3.TypedExtensionConfig); ok {
		readExtension(d, extension)
		return
	}
	body := d.root.Without("@type")
	if !d.Message("", body, m) || !d.rawName(m) {
		return
	}
	if l, ok := m.(*listenerv3.Listener); ok && !d.takeInline(l) {
		return
	}
	if !d.Validate("", body, m) {
		return
	}
	d.unlooked(m, inlineHint)
	d.AddResource(m, nil)
}

// rawName checks the name of a raw resource.
func (d *Doc) rawName(m proto.Message) bool {
	before := len(d.problems)
	field, name := nameOf(m)
	at := d.root.Locate([]string{field})
	if name == "" {
		d.Problem(at, "", "is missing")
	}
	switch m.(type) {
	case *listenerv3.Listener:
		d.listenerName(at, name)
	case *corev3.TypedExtensionConfig:
		d.FilterName(at, name)
	case *routev3.RouteConfiguration:
		d.name(at, name)
		d.notReserved(at, name, TwinPrefix, RoutesPrefix)
	case *tlsv3.Secret:
		d.notReserved(at, name, TLSPrefix)
	case *clusterv3.Cluster, *endpointv3.ClusterLoadAssignment:
		d.clusterName(at, name)
	}
	return len(d.problems) == before
}

// AddResource adds an Envoy resource; see AddFilter for at.
func (d *Doc) AddResource(m proto.Message, at map[string]string) {
	_, name := nameOf(m)
	pos := d.Pos()
	if path, ok := at["name"]; ok {
		pos.Line = d.root.LineOf(path)
	}
	d.addResource(&Resource{
		TypeURL: typePrefix + string(m.ProtoReflect().Descriptor().FullName()),
		Name:    name, Pos: pos, Message: m,
	}, at)
}

// nameOf returns the name of a resource and the field that holds it.
func nameOf(m proto.Message) (field, name string) {
	field = "name"
	if _, ok := m.(*endpointv3.ClusterLoadAssignment); ok {
		field = "cluster_name"
	}
	fd := m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(field))
	return field, m.ProtoReflect().Get(fd).String()
}
