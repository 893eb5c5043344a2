package kube

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// reference is a key of a Secret or ConfigMap that an object's configuration
// comes from.
type reference struct {
	valueKey
	key string
}

// valueKey identifies a Secret or ConfigMap. Only those that objects refer to
// are read, each by its own watch, so that no further permissions are required.
type valueKey struct{ kind, namespace, name string }

func (k valueKey) String() string { return k.kind + " " + k.namespace + "/" + k.name }

func (k valueKey) resource() schema.GroupVersionResource {
	plural := "secrets"
	if k.kind == "ConfigMap" {
		plural = "configmaps"
	}
	return schema.GroupVersionResource{Version: "v1", Resource: plural}
}

// referenceOf returns the value that a WasmFilter refers to, or nil if there is
// none.
func referenceOf(o *unstructured.Unstructured) *reference {
	for field, kind := range map[string]string{"secret": "Secret", "configMap": "ConfigMap"} {
		of, ok, err := unstructured.NestedStringMap(o.Object, "spec", "configFrom", field)
		if err == nil && ok && of["name"] != "" && of["key"] != "" {
			return &reference{valueKey{kind, o.GetNamespace(), of["name"]}, of["key"]}
		}
	}
	return nil
}

// value is the state of a Secret or ConfigMap.
type value struct {
	table *table
	key   valueKey
	end   context.CancelFunc

	synced bool              // data is up to date, according to the last report
	data   map[string]string // nil: it does not exist
	state  outcome
}

// given returns what a document receives for a reference. It returns false if
// this is not known yet.
func (t *table) given(r reference) (map[string]string, bool) {
	missing := func(format string, args ...any) (map[string]string, bool) {
		return map[string]string{"missing": fmt.Sprintf("%v ", r.valueKey) + fmt.Sprintf(format, args...)}, true
	}
	v := t.values[r.valueKey]
	switch {
	case v == nil || !v.synced && (v.state == pending || v.state == answered):
		return nil, false
	case !v.synced && v.state == denied:
		return missing("may not be read; grant list and watch of it")
	case !v.synced:
		return missing("can't be read")
	case v.data == nil:
		return missing("is not there")
	}
	text, ok := v.data[r.key]
	switch {
	case !ok:
		return missing("has no key %s", r.key)
	case !utf8.ValidString(text):
		return missing("has no text under the key %s", r.key)
	}
	return map[string]string{"value": text}, true
}

// valuesWait reports whether some document waits for the value that it refers
// to.
func (t *table) valuesWait() bool {
	for _, p := range t.parts {
		for _, o := range p.objects {
			if o.names != nil {
				if _, ok := t.given(*o.names); !ok {
					return true
				}
			}
		}
	}
	return false
}

// renderAll renders the documents that refer to a value again. The table must
// be locked.
func (v *value) renderAll() error {
	for _, p := range v.table.parts {
		for _, o := range p.objects {
			if o.names != nil && o.names.valueKey == v.key {
				if err := v.table.render(o); err != nil {
					return err
				}
			}
		}
	}
	signal(v.table.wake)
	return nil
}

func (v *value) outcome(o outcome, _ error) {
	v.table.mu.Lock()
	defer v.table.mu.Unlock()
	if o == denied {
		v.synced = false
	}
	if v.state != o {
		v.state = o
		_ = v.renderAll() // errors were reported when the objects were put
	}
}

func (v *value) put(o *unstructured.Unstructured) error {
	v.table.mu.Lock()
	defer v.table.mu.Unlock()
	v.set(o)
	return v.renderAll()
}

func (v *value) set(o *unstructured.Unstructured) {
	v.data = map[string]string{}
	plain, _, _ := unstructured.NestedStringMap(o.Object, "data")
	encoded, _, _ := unstructured.NestedStringMap(o.Object, "binaryData")
	if v.key.kind == "Secret" {
		plain, encoded = nil, plain
	}
	for key, text := range plain {
		v.data[key] = text
	}
	for key, text := range encoded {
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			v.data[key] = string(b)
		}
	}
}

func (v *value) delete(string, string) {
	v.table.mu.Lock()
	defer v.table.mu.Unlock()
	v.data = nil
	_ = v.renderAll() // errors were reported when the objects were put
}

func (v *value) replace(all []*unstructured.Unstructured) error {
	v.table.mu.Lock()
	defer v.table.mu.Unlock()
	v.synced, v.data = true, nil
	for _, o := range all {
		v.set(o)
	}
	return v.renderAll()
}

// follow watches the values that objects refer to, as long as they do, until
// ctx ends.
func (t *table) follow(ctx context.Context, client dynamic.Interface) {
	var followers sync.WaitGroup
	defer followers.Wait()
	tidy := time.NewTicker(idle)
	defer tidy.Stop()
	for {
		for _, v := range t.newValues() {
			f := &follower{
				name: v.key.String(), client: client.Resource(v.key.resource()).Namespace(v.key.namespace),
				selector: "metadata.name=" + v.key.name, store: store{v}, outcome: v.outcome, log: t.log,
			}
			ctx, end := context.WithCancel(ctx)
			v.end = end
			followers.Go(func() { f.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return
		case <-t.named:
		case <-tidy.C:
		}
	}
}

// newValues returns values that are referred to and not followed yet, and stops
// following those that are no longer referred to.
func (t *table) newValues() []*value {
	t.mu.Lock()
	defer t.mu.Unlock()
	named := map[valueKey]bool{}
	for _, p := range t.parts {
		for _, o := range p.objects {
			if o.names != nil {
				named[o.names.valueKey] = true
			}
		}
	}
	var added []*value
	for key := range named {
		if t.values[key] == nil {
			v := &value{table: t, key: key}
			t.values[key] = v
			added = append(added, v)
		}
	}
	for key, v := range t.values {
		if !named[key] {
			v.end()
			delete(t.values, key)
		}
	}
	return added
}
