//go:build !tinygo

package tcp

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/internal"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)

//go:wasmexport proxy_on_new_connection
func onNewConnection(contextID uint32) uint32 {
	return uint32(internal.ProxyOnNewConnection(contextID))
}

//go:wasmexport proxy_on_downstream_data
func onDownstreamData(contextID, size uint32, endOfStream bool) uint32 {
	return uint32(internal.ProxyOnDownstreamData(contextID, int(size), endOfStream))
}

//go:wasmexport proxy_on_downstream_connection_close
func onDownstreamConnectionClose(contextID, peerType uint32) {
	internal.ProxyOnDownstreamConnectionClose(contextID, types.PeerType(peerType))
}

//go:wasmexport proxy_on_upstream_data
func onUpstreamData(contextID, size uint32, endOfStream bool) uint32 {
	return uint32(internal.ProxyOnUpstreamData(contextID, int(size), endOfStream))
}

//go:wasmexport proxy_on_upstream_connection_close
func onUpstreamConnectionClose(contextID, peerType uint32) {
	internal.ProxyOnUpstreamConnectionClose(contextID, types.PeerType(peerType))
}
