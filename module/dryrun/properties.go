package dryrun

import (
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/stream"
)

// getProperty serves what a stream is given, what is known of it, what the
// module has set, and who the plugin is. An Envoy has more to tell of.
func (h *host) getProperty(m api.Module, a args) status {
	path, found := in(m, a.u32(0), a.u32(1))
	if !found {
		return invalidMemory
	}
	names := strings.Split(strings.TrimSuffix(string(path[:min(len(path), 1024)]), "\x00"), "\x00")
	value, found := h.property(names)
	if !found {
		if slices.Contains(envoys, names[0]) {
			h.unserved("property " + strings.Join(names, "."))
		}
		return notFound
	}
	return h.out(m, stream.Encode(value), a.u32(2), a.u32(3))
}

// envoys are properties that each Envoy has: a module that doesn't get one of
// them here might get it there.
var envoys = []string{"node", "xds", "listener_direction", "listener_metadata", "cluster_name", "cluster_metadata", "route_name", "route_metadata",
	"source", "destination", "connection", "connection_id", "upstream", "metadata"}

func (h *host) property(path []string) (stream.Value, bool) {
	s := h.scope()
	if value, found := stream.Find(s.given, path); found {
		return value, true
	}
	if s.stream != nil {
		if value, found := s.stream.Property(path[0]); found {
			return stream.Find(value, path[1:])
		}
		if value, found := s.set[path[0]]; found {
			return stream.Find(value, path[1:])
		}
	}
	who, found := map[string]string{"plugin_name": h.vm.Name, "plugin_root_id": h.vm.RootID, "plugin_vm_id": h.vm.VMID}[path[0]]
	return who, found && len(path) == 1
}

// setProperty keeps a property with its stream.
func (h *host) setProperty(m api.Module, a args) status {
	path, hasPath := in(m, a.u32(0), a.u32(1))
	value, hasValue := in(m, a.u32(2), a.u32(3))
	if !hasPath || !hasValue {
		return invalidMemory
	}
	s := h.scope()
	if s.stream == nil {
		return notFound
	}
	if !h.room(len(path)+len(value)) || len(s.set) >= maxEntries {
		return internalFailure
	}
	if s.set == nil {
		s.set = map[string][]byte{}
	}
	s.set[string(path)] = slices.Clone(value)
	return ok
}
