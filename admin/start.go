package admin

// Start is how a first definition and a first Envoy come to this server: what a page
// says that has none of them yet.
type Start struct {
	Directory  string   // that is watched; "": none is
	Elsewhere  []string // where else definitions come from, in words
	Apply      string   // the command that puts the file hello.yaml there; "": it is saved in Directory
	Definition string   // for hello.yaml
	Bootstrap  []string // the command that prints what an Envoy starts with, in lines
}

// FirstDefinition is a filter, and a listener that it is in, as a file has them.
const FirstDefinition = `kind: WasmFilter
name: hello
module: {url: hello.wasm}
---
kind: Listener
name: web
address: 127.0.0.1:8080
routes:
- {prefix: /, upstream: "127.0.0.1:9000"}
`

// FirstObject is the same filter as an object of a Kubernetes cluster.
const FirstObject = `apiVersion: wasmxds.dev/v1alpha1
kind: WasmFilter
metadata: {name: hello, namespace: default}
spec:
  module: {url: "oci://registry.example.com/filters/hello:1.0"}
`
