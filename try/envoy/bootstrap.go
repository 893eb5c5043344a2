package envoy

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"

	"wasmxds/definition"
	"wasmxds/resource"
)

// Object and List are parts of Envoy's configuration in JSON.
type (
	Object = map[string]any
	List   = []any
)

// Socket is a port of the loopback interface; 0: any free one.
func Socket(port int) Object {
	return Object{"socket_address": Object{"address": "127.0.0.1", "port_value": port}}
}

// Typed adds the type of a message to its fields.
func Typed(name string, fields Object) Object {
	fields["@type"] = "type.googleapis.com/" + name
	return fields
}

// Cluster is a cluster with a single port. It uses HTTP/1.1, HTTP/2, or the protocol of the
// request.
func Cluster(name string, port int, p Protocol) Object {
	c := Object{"name": name, "connect_timeout": "5s", "load_assignment": Object{"cluster_name": name, "endpoints": List{
		Object{"lb_endpoints": List{Object{"endpoint": Object{"address": Socket(port)}}}}}}}
	const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	if protocol := p.options(); protocol != nil {
		c["typed_extension_protocol_options"] = Object{options: Typed(options, protocol)}
	}
	return c
}

// Protocol is the protocol of a cluster.
type Protocol int

// The protocols.
const (
	HTTP1 Protocol = iota
	HTTP2
	Same // the same as the request
)

func (p Protocol) options() Object {
	switch p {
	case HTTP2:
		return Object{"explicit_http_config": Object{"http2_protocol_options": Object{}}}
	case Same:
		return Object{"use_downstream_protocol_config": Object{"http_protocol_options": Object{}, "http2_protocol_options": Object{}}}
	}
	return nil
}

// Listener is a listener whose clients tell their addresses by the PROXY protocol.
func Listener(name string, filters ...any) Object {
	return Object{"name": name, "address": Socket(0), "filter_chains": List{Object{"filters": filters}},
		"listener_filters": List{Object{"name": "proxy", "typed_config": Typed("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol", Object{})}}}
}

// Manager is an HTTP connection manager that faces clients, with a filter and a route to a
// cluster. It has the given fields in addition.
func Manager(wasm any, cluster string, log Object, fields Object) Object {
	m := Object{
		"stat_prefix": "http", "use_remote_address": true, "access_log": List{log},
		"route_config": Object{"name": "local_route", "virtual_hosts": List{Object{"name": "all", "domains": List{"*"}, "routes": List{
			Object{"name": "first", "match": Object{"prefix": "/"}, "metadata": Object{"filter_metadata": Object{"app": Object{"owner": "web"}}},
				"route": Object{"cluster": cluster}}}}}},
		"http_filters": List{
			Object{"name": "wasm", "typed_config": wasm},
			Object{"name": "router", "typed_config": Typed("envoy.extensions.filters.http.router.v3.Router", Object{})}},
	}
	for name, value := range fields {
		m[name] = value
	}
	return Object{"name": "hcm", "typed_config": Typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", m)}
}

// AccessLog logs a line of text for each request, to a file or to standard output.
func AccessLog(file, format string) Object {
	kind, config := "stream.v3.StdoutAccessLog", Object{"log_format": Object{"text_format_source": Object{"inline_string": format}}}
	if file != "" {
		kind, config["path"] = "file.v3.FileAccessLog", file
	}
	return Object{"name": "log", "typed_config": Typed("envoy.extensions.access_loggers."+kind, config)}
}

const (
	listenerName = "try"
	upstreamName = "xds-server.try.upstream"
)

// bootstrap is the bootstrap of an Envoy that has only the filter.
func bootstrap(d *definition.Filter, module string, e *ends) (Object, error) {
	config, err := resource.Local(d, module)
	if err != nil {
		return nil, err
	}
	b, err := protojson.Marshal(config)
	if err != nil {
		return nil, err
	}
	wasm := Object{}
	if err := json.Unmarshal(b, &wasm); err != nil {
		return nil, err
	}
	clusters := List{Cluster(upstreamName, e.upstream.Port(), Same)}
	for name, c := range e.callouts {
		p := HTTP1
		if c.grpc {
			p = HTTP2
		}
		clusters = append(clusters, Cluster(name, c.port, p))
	}
	return Object{
		"node":  Object{"id": "xds-server-try", "cluster": "try"},
		"admin": Object{"address": Socket(0)},
		"static_resources": Object{"clusters": clusters, "listeners": List{Listener(listenerName,
			Manager(Typed("envoy.extensions.filters.http.wasm.v3.Wasm", wasm), upstreamName, AccessLog("", ended+" %RESPONSE_CODE_DETAILS%\n"), nil))}},
	}, nil
}
