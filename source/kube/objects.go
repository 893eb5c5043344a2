package kube

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"wasmxds/source"
)

// Object is an object in the API server.
type Object struct {
	Native                bool // its kind and status are ours
	Kind, Namespace, Name string
	Resource              schema.GroupVersionResource
	UID                   types.UID
	Generation            int64
	Status                map[string]any // must not be modified
}

// String returns the name of the object for people.
func (o Object) String() string { return o.Kind + " " + o.Namespace + "/" + o.Name }

// Key returns the key of the object's document.
func (o Object) Key() source.Key {
	return source.Key{Source: Name, Name: documentName(o.Namespace, o.Kind, o.Name)}
}

// documentName returns the name of an object's document. Its inverse is parsed.
func documentName(namespace, kind, name string) string { return namespace + "/" + kind + "/" + name }

// parsed returns the object of a document, as far as its name determines it.
func parsed(document string) Object {
	namespace, rest, _ := strings.Cut(document, "/")
	kind, name, _ := strings.Cut(rest, "/")
	return Object{Kind: kind, Namespace: namespace, Name: name}
}

// Objects returns the objects that are known.
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
