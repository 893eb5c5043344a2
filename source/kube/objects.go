package kube

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"wasmxds/source"
)

// Object is an object as the API server has it.
type Object struct {
	Native                bool // its kind is ours, and so is its status
	Kind, Namespace, Name string
	Resource              schema.GroupVersionResource
	UID                   types.UID
	Generation            int64
	Status                map[string]any // must not be changed
}

// String is what people call it.
func (o Object) String() string { return o.Kind + " " + o.Namespace + "/" + o.Name }

// Key is what its document is known by.
func (o Object) Key() source.Key {
	return source.Key{Source: Name, Name: documentName(o.Namespace, o.Kind, o.Name)}
}

// documentName is what a document is known by; parsed reads it.
func documentName(namespace, kind, name string) string { return namespace + "/" + kind + "/" + name }

// parsed gives the object that a document is, as far as its name says.
func parsed(document string) Object {
	namespace, rest, _ := strings.Cut(document, "/")
	kind, name, _ := strings.Cut(rest, "/")
	return Object{Kind: kind, Namespace: namespace, Name: name}
}

// Objects are those that there are, as far as they are known.
func (c *Cluster) Objects() []Object {
	t := c.table.Load()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Object
	for _, p := range t.parts {
		for _, o := range p.objects {
			if o.doubted.IsZero() {
				all = append(all, Object{
					Native: p.kind.native(), Kind: p.kind.name, Namespace: o.namespace, Name: o.name, Resource: p.kind.resource(),
					UID: o.uid, Generation: o.generation, Status: o.status,
				})
			}
		}
	}
	return all
}
