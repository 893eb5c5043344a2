package definition

import (
	"strconv"
	"strings"

	"wasmxds/definition/internal/document"
)

// Group, Version and APIVersion identify the native kinds in Kubernetes.
const (
	Group      = "wasmxds.dev"
	Version    = "v1alpha1"
	APIVersion = Group + "/" + Version
)

// object is a document of a native kind in the form of a Kubernetes object: the
// name is in metadata, and the other fields of the native document, except
// kind, are in spec.
type object struct {
	APIVersion string         `json:"apiVersion" jsonschema:"required,enum=wasmxds.dev/v1alpha1"`
	Kind       string         `json:"kind"`
	Metadata   Metadata       `json:"metadata" jsonschema:"required"`
	Spec       *document.Node `json:"spec" jsonschema:"required"`
	Status     *document.Node `json:"status"`
	// Given is what the source has read for the object: the value that
	// configFrom names, or why it is missing.
	Given *document.Node `json:"given"`
}

// isObject reports whether a document is a Kubernetes object of a native kind.
func isObject(root *document.Node) bool {
	group, _, _ := strings.Cut(document.TextOf(root.Get("apiVersion")), "/")
	return group == Group && root.Get("@type") == nil
}

// readObject reads an object as the native document that it represents.
func (d *Doc) readObject(read func(*Doc)) {
	var o object
	if !d.Decode(&o) {
		return
	}
	if o.Given != nil && !d.InCluster() {
		d.Problem("given", "", "unknown field")
		return
	}
	if o.Spec.Kind != document.Object {
		d.Problem("spec", "", "%s, needs %s", o.Spec.Kind, document.Object)
		return
	}
	for _, field := range []string{"kind", "name"} {
		if o.Spec.Get(field) != nil {
			d.Problem("spec."+field, "its name is metadata.name", "%s is not written here", field)
			return
		}
	}
	of := *d
	of.object, of.root = d.root, asNative(d.root)
	of.first = len(d.problems)
	read(&of)
	for i := range d.problems[of.first:] {
		p := &d.problems[of.first+i]
		p.Field = inObject(p.Field)
		p.Line = d.root.LineOf(p.Field)
	}
}

// generationOf returns an object's generation, which Kubernetes increments with
// each change of the spec.
func generationOf(root *document.Node) int64 {
	n := root.Get("metadata").Get("generation")
	if n == nil || n.Kind != document.Number {
		return 0
	}
	generation, _ := strconv.ParseInt(n.Text, 10, 64) // 0 if it is not a number
	return generation
}

// authorOf returns the field manager that last wrote an object: the only one
// that package kube passes on.
func authorOf(root *document.Node) string {
	managers := root.Get("metadata").Get("managedFields")
	if managers == nil || len(managers.Items) != 1 {
		return ""
	}
	n := managers.Items[0].Get("manager")
	if n == nil || n.Kind != document.Text {
		return ""
	}
	return n.Text
}

// asNative returns the native document that an object represents, as far as it
// can be read.
func asNative(root *document.Node) *document.Node {
	native := &document.Node{Kind: document.Object, Line: root.Line}
	add := func(key, at string, value *document.Node) {
		native.Fields = append(native.Fields, document.Field{Key: key, Line: root.LineOf(at), Value: value})
	}
	if kind := root.Get("kind"); kind != nil {
		add("kind", "kind", kind)
	}
	name := &document.Node{Kind: document.Text, Line: root.LineOf("metadata.name"), Text: objectName(root)}
	add("name", "metadata.name", name)
	if spec := root.Get("spec"); spec != nil && spec.Kind == document.Object {
		native.Fields = append(native.Fields, spec.Without("kind", "name").Fields...)
	}
	return native
}

// inObject returns the path in an object of a native document's field.
func inObject(field string) string {
	switch field {
	case "", "kind":
		return field
	case "name":
		return "metadata.name"
	}
	return "spec." + field
}
