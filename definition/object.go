package definition

import (
	"strconv"
	"strings"

	"wasmxds/definition/internal/document"
)

// Group, Version and APIVersion are those of the native kinds as objects of
// Kubernetes.
const (
	Group      = "wasmxds.dev"
	Version    = "v1alpha1"
	APIVersion = Group + "/" + Version
)

// object is a document of a native kind as Kubernetes has it: what stands beside
// kind and name in a file of our own is in spec, and the name in metadata.
type object struct {
	APIVersion string         `json:"apiVersion" jsonschema:"required,enum=wasmxds.dev/v1alpha1"`
	Kind       string         `json:"kind"`
	Metadata   Metadata       `json:"metadata" jsonschema:"required"`
	Spec       *document.Node `json:"spec" jsonschema:"required"`
	Status     *document.Node `json:"status"`
	// Given is what its source has read for it: the value that configFrom names, or
	// why that is missing.
	Given *document.Node `json:"given"`
}

// isObject says whether a document is of a native kind as Kubernetes has it.
func isObject(root *document.Node) bool {
	group, _, _ := strings.Cut(document.TextOf(root.Get("apiVersion")), "/")
	return group == Group && root.Get("@type") == nil
}

// readObject reads an object as the native document that it stands for.
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

// generationOf is an object's, which is another for each that people write.
func generationOf(root *document.Node) int64 {
	n := root.Get("metadata").Get("generation")
	if n == nil || n.Kind != document.Number {
		return 0
	}
	generation, _ := strconv.ParseInt(n.Text, 10, 64) // 0: it is none
	return generation
}

// authorOf is who wrote an object last: the only one of its managers that package
// kube passes on.
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

// asNative is the native document that an object stands for, as far as it can be
// read.
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

// inObject is where a field of a native document is in an object.
func inObject(field string) string {
	switch field {
	case "", "kind":
		return field
	case "name":
		return "metadata.name"
	}
	return "spec." + field
}
