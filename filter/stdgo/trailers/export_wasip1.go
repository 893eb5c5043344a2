//go:build !tinygo

package trailers

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/internal"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
)

//go:wasmexport proxy_on_request_trailers
func onRequestTrailers(contextID, trailers uint32) uint32 {
	return uint32(internal.ProxyOnRequestTrailers(contextID, int(trailers)))
}

//go:wasmexport proxy_on_response_trailers
func onResponseTrailers(contextID, trailers uint32) uint32 {
	return uint32(internal.ProxyOnResponseTrailers(contextID, int(trailers)))
}
