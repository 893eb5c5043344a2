package dryrun

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

// getProperty returns a property: one that the stream is given, that is known of it, that
// the module has set, or that describes the plugin. An Envoy has more of them.
func (h *host) getProperty(m api.Module, a args) status {
	path, found := in(m, a.u32(0), a.u32(1))
	switch {
	case !found:
		return invalidMemory
	case len(path) == 0:
		return abi.SerializationFailure
	}
	names := strings.Split(strings.TrimSuffix(string(path[:min(len(path), 1024)]), "\x00"), "\x00")
	value, found := h.property(h.scope(), names)
	if !found {
		h.missed(names)
		return notFound
	}
	b, possible := stream.Encode(value)
	if !possible {
		return abi.SerializationFailure
	}
	return h.out(m, b, a.u32(2), a.u32(3))
}

// missed records a property that the module does not get here and might get from an Envoy.
func (h *host) missed(names []string) {
	if name := strings.Join(names, "."); slices.Contains(envoys, names[0]) && !slices.Contains(alsoMissing, name) {
		h.unserved("property " + name)
	}
}

// lookups are properties that have parts but no value as a whole.
var lookups = []string{"request", "response", "source", "destination", "connection", "upstream", "xds", "filter_state", "upstream_filter_state"}

// envoys are properties that every Envoy has. A module that does not get one of them here
// may get it there.
var envoys = []string{"xds", "source", "destination", "connection", "connection_id", "upstream"}

// alsoMissing are properties that an Envoy does not have either during a request without
// TLS on both sides.
var alsoMissing = []string{"connection.tls_version", "connection.subject_local_certificate", "connection.subject_peer_certificate",
	"connection.uri_san_local_certificate", "connection.uri_san_peer_certificate", "connection.dns_san_local_certificate", "connection.dns_san_peer_certificate",
	"connection.sha256_peer_certificate_digest", "connection.termination_details", "connection.transport_failure_reason",
	"upstream.tls_version", "upstream.address", "upstream.port", "upstream.locality", "upstream.transport_failure_reason"}

func (h *host) property(s *scope, path []string) (stream.Value, bool) {
	if value, found := stream.Find(s.given, path); found {
		if len(path) == 1 && slices.Contains(lookups, path[0]) {
			return stream.Lookup(nil), true
		}
		return value, true
	}
	if who, found := map[string]string{"plugin_name": h.vm.Name, "plugin_root_id": h.vm.RootID, "plugin_vm_id": h.vm.VMID}[path[0]]; found {
		return who, len(path) == 1
	}
	if value, found := s.property(path[0]); found {
		return stream.Find(value, path[1:])
	}
	return nil, false
}

// property returns what is known of a stream.
func (s *scope) property(name string) (stream.Value, bool) {
	if s.stream == nil && s.tcp == nil {
		return nil, false
	}
	if s.stream != nil {
		if value, found := s.stream.Property(name); found {
			return value, true
		}
	}
	if s.tcp != nil {
		if value, found := s.tcp.Property(name); found {
			return value, true
		}
	}
	if name == "filter_state" {
		return stream.Lookup(func(name string) (stream.Value, bool) {
			if own, is := strings.CutPrefix(name, "wasm."); is {
				value, found := s.set[own]
				return value, found
			}
			value, found := s.states[name]
			return value, found
		}), true
	}
	if name == "upstream" && s.tcp != nil {
		return address(upstreamHost, upstreamPort), true
	}
	if value, found := connection[name]; found {
		return value, true
	}
	value, found := s.set[name]
	return value, found
}

// connection returns the connection of a stream. By default, it is one from some client to
// a port of Envoy, without TLS.
var connection = map[string]stream.Value{
	"source":        address(stream.Client, 50000),
	"destination":   address("192.0.2.10", 10000),
	"connection_id": uint64(1),
	"connection": known(stream.Map{
		{Name: "id", Value: uint64(1)}, {Name: "mtls", Value: false}, {Name: "requested_server_name", Value: ""},
	}),
}

const upstreamHost, upstreamPort = "192.0.2.20", 8080

func address(host string, port int64) stream.Value {
	return known(stream.Map{{Name: "address", Value: net.JoinHostPort(host, strconv.FormatInt(port, 10))}, {Name: "port", Value: port}})
}

// known returns values by name. As in Envoy, they can't be listed.
func known(m stream.Map) stream.Lookup {
	return func(name string) (stream.Value, bool) { return stream.Find(m, []string{name}) }
}

// setProperty stores a property with its stream.
func (h *host) setProperty(m api.Module, a args) status {
	path, hasPath := in(m, a.u32(0), a.u32(1))
	value, hasValue := in(m, a.u32(2), a.u32(3))
	if !hasPath || !hasValue {
		return invalidMemory
	}
	s := h.scope()
	if s.stream == nil && s.tcp == nil {
		return notFound
	}
	if !h.room(len(path)+len(value)) || len(s.set) >= maxEntries {
		return internalFailure
	}
	if _, there := s.set[string(path)]; there && h.readonly[string(path)] {
		return badArgument
	}
	if s.set == nil {
		s.set = map[string][]byte{}
	}
	s.set[string(path)] = slices.Clone(value)
	return ok
}
