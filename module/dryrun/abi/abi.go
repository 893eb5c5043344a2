// Package abi defines the numbers of the Proxy-Wasm ABI (github.com/proxy-wasm/spec,
// versions 0.1.0, 0.2.0 and 0.2.1).
package abi

// Status is the result of a host call (proxy_status_t).
type Status uint32

const (
	OK                   Status = 0
	NotFound             Status = 1
	BadArgument          Status = 2
	SerializationFailure Status = 3
	ParseFailure         Status = 4
	InvalidMemory        Status = 6
	Empty                Status = 7
	CasMismatch          Status = 8
	InternalFailure      Status = 10
	BrokenConnection     Status = 11
	Unimplemented        Status = 12
)

// Map is a map of headers or trailers (proxy_map_type_t).
type Map uint32

const (
	RequestHeaders       Map = 0
	RequestTrailers      Map = 1
	ResponseHeaders      Map = 2
	ResponseTrailers     Map = 3
	GRPCInitialMetadata  Map = 4
	GRPCTrailingMetadata Map = 5
	CallHeaders          Map = 6
	CallTrailers         Map = 7
	LastMap                  = CallTrailers
)

// Buffer is a buffer (proxy_buffer_type_t).
type Buffer uint32

const (
	RequestBody    Buffer = 0
	ResponseBody   Buffer = 1
	DownstreamData Buffer = 2
	UpstreamData   Buffer = 3
	CallBody       Buffer = 4
	GRPCMessage    Buffer = 5
	VMConfig       Buffer = 6
	PluginConfig   Buffer = 7
	CallData       Buffer = 8
	LastBuffer            = CallData
)

// Side is one direction of a stream (proxy_stream_type_t).
type Side uint32

const (
	Request    Side = 0
	Response   Side = 1
	Downstream Side = 2
	Upstream   Side = 3
	LastSide        = Upstream
)

// Level is the level of a log line (proxy_log_level_t).
type Level uint32

const (
	Trace    Level = 0
	Debug    Level = 1
	Info     Level = 2
	Warn     Level = 3
	Error    Level = 4
	Critical Level = 5
)

func (l Level) String() string {
	if l > Critical {
		return "unknown"
	}
	return [...]string{"trace", "debug", "info", "warning", "error", "critical"}[l]
}
