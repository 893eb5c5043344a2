// Package stdgo lets the stock Go toolchain compile filters that are written
// for the Proxy-Wasm Go SDK, which by itself does so only for TinyGo.
//
// A filter imports it for its effect:
//
//	import _ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
//
// It connects the SDK's host calls to those of the proxy and exports the
// callbacks for a VM, a plugin and the headers of a request. The proxy calls
// whatever is exported, so that the callbacks only some filters have are
// packages of their own, imported in place of this one or beside it:
// stdgo/body, stdgo/trailers and stdgo/tcp. What an access logger needs, and the SDK
// has not, is in stdgo/accesslog.
//
// Under any other toolchain and for any other target (TinyGo; tests that run
// natively) the packages are empty, and the filter stays the same.
//
// The package is a module whose path lies below the SDK's, because only there
// does Go let it import the SDK's internal package, where host calls and
// callbacks meet. It is used by a replace directive; the SDK stays as it is:
//
//	require github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo v0.0.0
//	replace github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo => ./stdgo
//
// The ABI is Proxy-Wasm 0.2.0, as the SDK has it:
// https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.0
package stdgo
