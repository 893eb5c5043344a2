// Package kubernetes has manifests: a directory of definitions in a ConfigMap
// beside it, definitions that are objects in objects. Its test applies the latter
// to a real API server; package validate checks the former.
package kubernetes
