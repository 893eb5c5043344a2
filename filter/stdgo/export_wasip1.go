//go:build !tinygo

package stdgo

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/internal"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/accesslog"
)

// The callbacks that the proxy calls on any filter, and those for the headers
// of HTTP requests and responses.

//go:wasmexport proxy_abi_version_0_2_0
func abiVersion() {}

//go:wasmexport proxy_on_vm_start
func onVMStart(contextID, configurationSize uint32) bool {
	return bool(internal.ProxyOnVMStart(contextID, int(configurationSize)))
}

//go:wasmexport proxy_on_configure
func onConfigure(contextID, configurationSize uint32) bool {
	return bool(internal.ProxyOnConfigure(contextID, int(configurationSize)))
}

//go:wasmexport proxy_on_context_create
func onContextCreate(contextID, parentContextID uint32) {
	internal.ProxyOnContextCreate(contextID, parentContextID)
}

//go:wasmexport proxy_on_log
func onLog(contextID uint32) {
	// The SDK notes it for streams only. It sends answers to calls of other services to the
	// context that is active when they are made.
	internal.VMStateSetActiveContextID(contextID)
	if !accesslog.Log(contextID) {
		internal.ProxyOnLog(contextID)
	}
}

//go:wasmexport proxy_on_done
func onDone(contextID uint32) bool { return internal.ProxyOnDone(contextID) }

//go:wasmexport proxy_on_delete
func onDelete(contextID uint32) {
	accesslog.Forget(contextID)
	internal.ProxyOnDelete(contextID)
}

//go:wasmexport proxy_on_tick
func onTick(contextID uint32) { internal.ProxyOnTick(contextID) }

//go:wasmexport proxy_on_queue_ready
func onQueueReady(contextID, queueID uint32) { internal.ProxyOnQueueReady(contextID, queueID) }

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(contextID, calloutID, headers, bodySize, trailers uint32) {
	internal.ProxyOnHttpCallResponse(contextID, calloutID, int(headers), int(bodySize), int(trailers))
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(contextID, headers uint32, endOfStream bool) uint32 {
	return uint32(internal.ProxyOnRequestHeaders(contextID, int(headers), endOfStream))
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(contextID, headers uint32, endOfStream bool) uint32 {
	return uint32(internal.ProxyOnResponseHeaders(contextID, int(headers), endOfStream))
}
