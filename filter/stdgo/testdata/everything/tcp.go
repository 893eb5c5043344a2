package main

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)

// connection is a TCP connection on which the client says "hello", reads, and
// says "close".
type connection struct{ types.DefaultTcpContext }

func (*connection) OnNewConnection() types.Action {
	expect("proxy_on_new_connection", true)
	return types.ActionContinue
}

func (*connection) OnDownstreamData(size int, _ bool) types.Action {
	if size == 0 {
		return types.ActionContinue
	}
	data, err := proxywasm.GetDownstreamData(0, size)
	expect("proxy_on_downstream_data", err == nil && (string(data) == "hello" || string(data) == "close"), data, err)
	if string(data) == "close" {
		err := proxywasm.CloseDownstream()
		expect("proxy_close_stream", err == nil, err)
		return types.ActionContinue
	}
	err = proxywasm.AppendDownstreamData([]byte("]"))
	expect("proxy_set_buffer_bytes", err == nil, err)
	return types.ActionContinue
}

func (*connection) OnUpstreamData(size int, _ bool) types.Action {
	if size == 0 {
		return types.ActionContinue
	}
	data, err := proxywasm.GetUpstreamData(0, size)
	err2 := proxywasm.PrependUpstreamData([]byte("["))
	expect("proxy_on_upstream_data", err == nil && err2 == nil && len(data) == size, data, err, err2)
	return types.ActionContinue
}

func (*connection) OnDownstreamClose(types.PeerType) {
	expect("proxy_on_downstream_connection_close", true)
}

func (*connection) OnUpstreamClose(types.PeerType) {
	expect("proxy_on_upstream_connection_close", true)
}
