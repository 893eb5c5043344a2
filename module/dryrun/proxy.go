package dryrun

import (
	"time"

	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/abi"
)

// proxyCalls are the host calls of Proxy-Wasm, as Envoy implements them.
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
		call("set_property", "iiii", (*host).setProperty),
		call("get_buffer_bytes", "iiiii", (*host).getBufferBytes),
		call("get_buffer_status", "iii", (*host).getBufferStatus),
		call("set_buffer_bytes", "iiiii", (*host).setBufferBytes),
		call("get_current_time_nanoseconds", "i", func(h *host, m api.Module, a args) status {
			return wrote(put64(m, a.u32(0), uint64(h.now().UnixNano())))
		}),
		call("set_tick_period_milliseconds", "i", func(h *host, _ api.Module, a args) status {
			h.setTimer(time.Duration(a.u32(0)) * time.Millisecond)
			return ok
		}),
		call("set_effective_context", "i", (*host).setEffectiveContext),
		call("done", "", (*host).done),
		call("call_foreign_function", "iiiiii", (*host).callForeignFunction),

		call("get_header_map_value", "iiiii", (*host).getHeader),
		call("add_header_map_value", "iiiii", (*host).addHeader),
		call("replace_header_map_value", "iiiii", (*host).replaceHeader),
		call("remove_header_map_value", "iii", (*host).removeHeader),
		call("get_header_map_pairs", "iii", (*host).getHeaders),
		call("set_header_map_pairs", "iii", (*host).setHeaders),
		call("get_header_map_size", "ii", (*host).getHeadersSize),
		call("send_local_response", "iiiiiiii", (*host).sendLocalResponse),

		call("http_call", "iiiiiiiiii", (*host).httpCall),
		call("grpc_call", "iiiiiiiiiiii", (*host).grpcCall),
		call("grpc_stream", "iiiiiiiii", (*host).grpcStream),
		call("grpc_close", "i", (*host).grpcClose),
		call("grpc_cancel", "i", (*host).grpcCancel),
		call("grpc_send", "iiii", (*host).grpcSend),

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
		only("0.1.0", call("continue_request", "", (*host).continueRequest)),
		only("0.1.0", call("continue_response", "", (*host).continueResponse)),
		only("0.1.0", call("clear_route_cache", "", fixed(ok))),
		only("0.2.0 0.2.1", call("continue_stream", "i", (*host).continueStream)),
		only("0.2.0 0.2.1", call("close_stream", "i", (*host).closeStream)),
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

func (h *host) logCall(m api.Module, a args) status {
	if a.u32(0) > uint32(abi.Critical) {
		return badArgument
	}
	text, found := in(m, a.u32(1), a.u32(2))
	if !found {
		return invalidMemory
	}
	h.write(a.u32(0), string(text[:min(len(text), 64<<10)]))
	return ok
}
