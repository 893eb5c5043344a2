// The path lies below the SDK's on purpose: only there does Go let a package
// import the SDK's internal package. See doc.go.
module github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo

go 1.25.0

require (
	github.com/tetratelabs/proxy-wasm-go-sdk v0.24.0
	github.com/tetratelabs/wazero v1.12.0
)

require golang.org/x/sys v0.44.0 // indirect
