// Package kubernetes has manifests: kustomizations for definitions that are objects
// (base, single, replicas), and plain ones with a directory of definitions in a
// ConfigMap. Its tests render these and the Helm chart in charts/wasmxds with the real
// tools, hold them against each other, and apply them to a real API server, on which
// xds-server then runs with the rights that they grant. Package validate checks what in
// them refers to what.
package kubernetes
