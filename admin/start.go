package admin

// Start describes how to add a first definition and a first Envoy to this
// server, for pages that have none yet.
type Start struct {
	Directory  string   // watched directory; "": none
	Elsewhere  []string // descriptions of other sources of definitions
	Apply      string   // command that adds the file hello.yaml; "": save it in Directory
	Definition string   // content of hello.yaml
	Bootstrap  []string // lines of the command that prints a bootstrap
}

// FirstDefinition is a filter, and a listener that it is attached to, as a
// file.
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

// FirstObject is the same filter as a Kubernetes object.
const FirstObject = `apiVersion: wasmxds.dev/v1alpha1
kind: WasmFilter
metadata: {name: hello, namespace: default}
spec:
  module: {url: "oci://registry.example.com/filters/hello:1.0"}
`
