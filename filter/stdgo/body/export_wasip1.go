//go:build !tinygo

package body

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/internal"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
)

//go:wasmexport proxy_on_request_body
func onRequestBody(contextID, size uint32, endOfStream bool) uint32 {
	return uint32(internal.ProxyOnRequestBody(contextID, int(size), endOfStream))
}

//go:wasmexport proxy_on_response_body
func onResponseBody(contextID, size uint32, endOfStream bool) uint32 {
	return uint32(internal.ProxyOnResponseBody(contextID, int(size), endOfStream))
}
