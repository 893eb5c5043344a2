// Filters are a module of their own because a replace directive counts only in
// the main module, and theirs names stdgo.
module wasmxds/filter

go 1.25.0

require (
	github.com/tetratelabs/proxy-wasm-go-sdk v0.24.0
	github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo v0.0.0
)

require (
	github.com/tetratelabs/wazero v1.12.0 // indirect
	golang.org/x/sys v0.44.0 // indirect
)

replace github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo => ./stdgo
