package dryrun

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// proxyCalls are the host calls of Proxy-Wasm as Envoy has them.
func proxyCalls() []function {
	call := func(name, params string, do func(*host, api.Module, args) status) function {
		return function{module: "env", name: "proxy_" + name, params: params, do: func(h *host, m api.Module, a args) uint32 {
			return uint32(do(h, m, a))
		}}
	}
	only := func(abi string, f function) function { f.abi = abi; return f }
	early := func(f function) function { f.early = true; return f }
	fixed := func(s status) func(*host, api.Module, args) status {
		return func(*host, api.Module, args) status { return s }
	}
	return []function{
		early(call("log", "iii", (*host).logCall)),
		call("get_status", "iii", (*host).getStatus),
		call("get_property", "iiii", (*host).getProperty),
		call("set_property", "iiii", fixed(ok)),
		call("get_buffer_bytes", "iiiii", (*host).getBufferBytes),
		call("get_buffer_status", "iii", (*host).getBufferStatus),
		call("set_buffer_bytes", "iiiii", fixed(badArgument)),
		call("get_current_time_nanoseconds", "i", func(_ *host, m api.Module, a args) status {
			return wrote(put64(m, a.u32(0), uint64(time.Now().UnixNano())))
		}),
		call("set_tick_period_milliseconds", "i", fixed(ok)),
		call("set_effective_context", "i", func(_ *host, _ api.Module, a args) status {
			if a.u32(0) > rootContext {
				return badArgument
			}
			return ok
		}),
		call("done", "", fixed(notFound)),
		call("call_foreign_function", "iiiiii", (*host).callForeignFunction),

		// There is no stream while a plugin is configured.
		call("get_header_map_value", "iiiii", fixed(badArgument)),
		call("add_header_map_value", "iiiii", fixed(badArgument)),
		call("replace_header_map_value", "iiiii", fixed(badArgument)),
		call("remove_header_map_value", "iii", fixed(badArgument)),
		call("get_header_map_pairs", "iii", fixed(badArgument)),
		call("set_header_map_pairs", "iii", fixed(badArgument)),
		call("get_header_map_size", "ii", fixed(badArgument)),
		call("send_local_response", "iiiiiiii", fixed(ok)),

		// Calls go out only from an Envoy; no answer comes here.
		call("http_call", "iiiiiiiiii", (*host).httpCall),
		call("grpc_call", "iiiiiiiiiiii", func(h *host, m api.Module, a args) status { return h.begin(m, a.u32(11)) }),
		call("grpc_stream", "iiiiiiiii", func(h *host, m api.Module, a args) status { return h.begin(m, a.u32(8)) }),
		call("grpc_close", "i", (*host).begun),
		call("grpc_cancel", "i", (*host).begun),
		call("grpc_send", "iiii", (*host).begun),

		call("get_shared_data", "iiiii", (*host).getSharedData),
		call("set_shared_data", "iiiii", (*host).setSharedData),
		call("register_shared_queue", "iii", (*host).registerQueue),
		call("resolve_shared_queue", "iiiii", (*host).resolveQueue),
		call("dequeue_shared_queue", "iii", (*host).dequeue),
		call("enqueue_shared_queue", "iii", (*host).enqueue),

		call("define_metric", "iiii", (*host).defineMetric),
		call("increment_metric", "iI", (*host).incrementMetric),
		call("record_metric", "iI", (*host).recordMetric),
		call("get_metric", "ii", (*host).getMetric),

		only("0.1.0", call("get_configuration", "ii", (*host).getConfiguration)),
		only("0.1.0", call("continue_request", "", fixed(ok))),
		only("0.1.0", call("continue_response", "", fixed(ok))),
		only("0.1.0", call("clear_route_cache", "", fixed(ok))),
		only("0.2.0 0.2.1", call("continue_stream", "i", streamType)),
		only("0.2.0 0.2.1", call("close_stream", "i", streamType)),
		only("0.2.1", call("get_log_level", "i", func(_ *host, m api.Module, a args) status {
			const info = 2
			return wrote(put32(m, a.u32(0), info))
		})),
	}
}

func wrote(done bool) status {
	if !done {
		return invalidMemory
	}
	return ok
}

func streamType(_ *host, _ api.Module, a args) status {
	if a.u32(0) > 3 {
		return badArgument
	}
	return ok
}

func (h *host) logCall(m api.Module, a args) status {
	const critical = 5
	if a.u32(0) > critical {
		return badArgument
	}
	text, found := in(m, a.u32(1), a.u32(2))
	if !found {
		return invalidMemory
	}
	h.log.add(a.u32(0), string(text[:min(len(text), 64<<10)]))
	return ok
}

func (h *host) getStatus(m api.Module, a args) status {
	if !put32(m, a.u32(0), 0) {
		return invalidMemory
	}
	return h.out(m, nil, a.u32(1), a.u32(2))
}

// getProperty serves what says who the plugin is; an Envoy also has its node
// and listener to tell of.
func (h *host) getProperty(m api.Module, a args) status {
	path, found := in(m, a.u32(0), a.u32(1))
	if !found {
		return invalidMemory
	}
	names := strings.Split(strings.TrimSuffix(string(path[:min(len(path), 1024)]), "\x00"), "\x00")
	var value string
	switch names[0] {
	case "plugin_name":
		value = h.vm.Name
	case "plugin_root_id":
		value = h.vm.RootID
	case "plugin_vm_id":
		value = h.vm.VMID
	case "node", "xds", "listener_direction", "listener_metadata", "cluster_name", "cluster_metadata", "route_name", "route_metadata":
		h.unserved("property " + strings.Join(names, "."))
		return notFound
	default:
		return notFound
	}
	return h.out(m, []byte(value), a.u32(2), a.u32(3))
}

// Buffers that are there while a plugin is configured (proxy_buffer_type_t).
const (
	bufferVMConfig     = 6
	bufferPluginConfig = 7
	bufferLast         = 8
)

func (h *host) buffer(kind uint32) ([]byte, status) {
	switch {
	case kind > bufferLast:
		return nil, badArgument
	case kind == bufferVMConfig:
		return h.vm.vmConfig, ok
	case kind == bufferPluginConfig && h.plugin:
		return h.vm.config, ok
	}
	return nil, notFound
}

func (h *host) getBufferBytes(m api.Module, a args) status {
	b, s := h.buffer(a.u32(0))
	if s != ok {
		return s
	}
	start, length := uint64(a.u32(1)), uint64(a.u32(2))
	start = min(start, uint64(len(b)))
	length = min(length, uint64(len(b))-start)
	return h.out(m, b[start:start+length], a.u32(3), a.u32(4))
}

func (h *host) getBufferStatus(m api.Module, a args) status {
	b, s := h.buffer(a.u32(0))
	if s != ok {
		return s
	}
	return wrote(put32(m, a.u32(1), uint32(len(b))) && put32(m, a.u32(2), 0))
}

func (h *host) getConfiguration(m api.Module, a args) status {
	b := h.vm.vmConfig
	if h.plugin {
		b = h.vm.config
	}
	return h.out(m, b, a.u32(0), a.u32(1))
}

// callForeignFunction knows by name what Envoy registers.
func (h *host) callForeignFunction(m api.Module, a args) status {
	name, found := in(m, a.u32(0), a.u32(1))
	if !found {
		return invalidMemory
	}
	switch string(name) {
	case "compress", "uncompress", "expr_create", "expr_evaluate", "expr_delete", "declare_property",
		"set_envoy_filter_state", "clear_route_cache", "verify_signature", "sign", "send_header", "get_header":
		h.unserved("foreign function " + string(name))
		return internalFailure
	}
	return notFound
}

func (h *host) httpCall(m api.Module, a args) status {
	b, found := in(m, a.u32(2), a.u32(3))
	if !found {
		return invalidMemory
	}
	headers := pairs(b)
	for _, name := range []string{":method", ":path", ":authority"} {
		if !slices.ContainsFunc(headers, func(h [2]string) bool { return h[0] == name }) {
			return badArgument
		}
	}
	return h.begin(m, a.u32(9))
}

// pairs reads a map as modules hand it over: the number of pairs, the sizes
// of each, and then each name and value with a zero byte behind it. What is
// malformed is no pairs.
func pairs(b []byte) [][2]string {
	const limit = 1024
	n, rest, found := take32(b)
	if !found || n > limit || uint64(len(rest)) < 8*uint64(n) {
		return nil
	}
	sizes, rest := rest[:8*n], rest[8*n:]
	out := make([][2]string, 0, n)
	for range n {
		var pair [2]string
		for i := range pair {
			var size uint32
			size, sizes, _ = take32(sizes)
			if uint64(len(rest)) < uint64(size)+1 {
				return nil
			}
			pair[i], rest = string(rest[:size]), rest[size+1:]
		}
		out = append(out, pair)
	}
	return out
}

func take32(b []byte) (v uint32, rest []byte, found bool) {
	if len(b) < 4 {
		return 0, b, false
	}
	return binary.LittleEndian.Uint32(b), b[4:], true
}

// begin gives a token to a call whose answer never comes.
func (h *host) begin(m api.Module, pointer uint32) status {
	h.token++
	return wrote(put32(m, pointer, h.token))
}

func (h *host) begun(_ api.Module, a args) status {
	if token := a.u32(0); token == 0 || token > h.token {
		return notFound
	}
	return ok
}
