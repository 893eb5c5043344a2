package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"wasmxds/definition"
	"wasmxds/source/internal/burst"
)

// times are durations, which tests may change.
type times struct {
	quiet    time.Duration // without changes, before they are sent
	max      time.Duration // maximum wait for an end of changes
	patience time.Duration // how long the API server may fail before it is a problem
	doubt    time.Duration // after which to check whether an object or its kind is gone
	grace    time.Duration // how long objects may be missing when a kind is served again
}

// table has the state of all objects. Followers update it, run sends it.
type table struct {
	times
	removeAll bool
	log       *slog.Logger
	wake      chan struct{} // something has changed
	doubts    chan struct{} // an object is gone
	named     chan struct{} // objects refer to other values than before

	mu      sync.Mutex
	parts   []*part
	values  map[valueKey]*value // values that objects refer to
	dead    []string            // documents that are gone, and not yet sent as such
	changes burst.Burst         // changes that are not sent
}

// part is the objects of one kind, in one namespace or in all.
type part struct {
	table     *table
	kind      kind
	namespace string // "": all

	objects map[string]*object // by the document's name
	synced  bool               // objects are complete, according to the last report
	absent  bool               // the kind was not served at the last request; until it is listed
	state   outcome
	why     error
	since   time.Time          // time of the last change of state
	again   context.CancelFunc // starts another list; nil: not followed yet
}

// outcome is the result of the last request.
type outcome int

const (
	pending  outcome = iota // no response so far
	answered                // successful
	absent                  // the kind is not served
	denied                  // permission denied
	failing                 // the API server can't be reached, or returns an error
)

// object is an object that exists, or existed until just now.
type object struct {
	namespace, name string
	written         map[string]any // relevant content, without the value that it refers to
	names           *reference     // value that it refers to; nil: none
	data            []byte         // nil: the value that it refers to is not known yet
	uid             types.UID
	generation      int64          // the last one that people have written
	status          map[string]any // as last seen
	fresh           bool           // data is not sent yet
	doubted         time.Time      // set if the object is gone: when to check whether its kind is, too
}

func newTable(t times, removeAll bool, log *slog.Logger) *table {
	return &table{times: t, removeAll: removeAll, log: log, wake: make(chan struct{}, 1), doubts: make(chan struct{}, 1),
		named: make(chan struct{}, 1), values: map[valueKey]*value{}}
}

func (t *table) part(k kind, namespace string) *part {
	p := &part{table: t, kind: k, namespace: namespace, objects: map[string]*object{}}
	t.parts = append(t.parts, p)
	return p
}

// begins stores the function that starts another list.
func (p *part) begins(again context.CancelFunc) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.again = again
}

// signal wakes the receiver of c, if any.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// touch records a change. The table must be locked.
func (t *table) touch() {
	t.changes.Touch(time.Now())
	signal(t.wake)
}

// outcome records the result of a request.
func (p *part) outcome(o outcome, why error) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if o == absent || o == denied {
		p.synced = false
	}
	if o == absent && !p.absent {
		p.table.unserved(p)
	}
	if o != p.state {
		p.state, p.why, p.since = o, why, time.Now()
		signal(p.table.wake)
		if o == absent && p.kind.native() {
			p.table.log.Warn("the API server does not serve a kind: xds-server crds prints its CRD", "kind", p.kind.name)
		}
	}
}

// unserved records that a kind is not served, according to one part, and
// therefore in no namespace. This ends all doubts about its objects, even if
// the kind is served again before the check. The table must be locked.
func (t *table) unserved(heard *part) {
	heard.absent = true
	if t.removeAll {
		return
	}
	heard.certain()
	for _, p := range t.parts {
		if p.kind == heard.kind && !p.absent {
			p.going()
		}
	}
}

// put processes an existing object.
func (p *part) put(o *unstructured.Unstructured) error {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	return p.set(o)
}

func (p *part) set(o *unstructured.Unstructured) error {
	name := p.name(o.GetNamespace(), o.GetName())
	known := p.objects[name]
	if known == nil {
		known = &object{namespace: o.GetNamespace(), name: o.GetName()}
		p.objects[name] = known
	}
	known.doubted, known.generation, known.uid = time.Time{}, o.GetGeneration(), o.GetUID()
	known.status, _, _ = unstructured.NestedMap(o.Object, "status") // no map, no status
	known.written = document(o)
	known.names = nil
	if p.kind.native() {
		known.names = referenceOf(o)
	}
	if known.names != nil {
		signal(p.table.named)
	}
	return p.table.render(known)
}

// render makes the document of an object.
func (t *table) render(o *object) error {
	d := o.written
	if o.names != nil {
		given, ok := t.given(*o.names)
		if !ok {
			return nil
		}
		d = maps.Clone(d)
		d["given"] = given
	}
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write %s: %w", d["kind"], err)
	}
	if !bytes.Equal(o.data, data) {
		o.data, o.fresh = data, true
		t.touch()
	}
	return nil
}

// delete processes the deletion of an object.
func (p *part) delete(namespace, name string) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if o := p.objects[p.name(namespace, name)]; o != nil && o.doubted.IsZero() {
		o.doubted = time.Now().Add(p.table.doubt)
		signal(p.table.doubts)
	}
}

// replace processes a complete list of objects.
func (p *part) replace(all []*unstructured.Unstructured) error {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	there := map[string]bool{}
	for _, o := range all {
		there[p.name(o.GetNamespace(), o.GetName())] = true
		if err := p.set(o); err != nil {
			return err
		}
	}
	until := time.Now().Add(p.table.doubt)
	if p.absent {
		until = time.Now().Add(p.table.grace)
	}
	for name, o := range p.objects {
		if !there[name] && o.doubted.IsZero() {
			o.doubted = until
		}
	}
	p.synced, p.absent = true, false
	signal(p.table.doubts)
	signal(p.table.wake)
	return nil
}

func (p *part) name(namespace, name string) string { return documentName(namespace, p.kind.name, name) }

// document returns the relevant content of an object.
func document(o *unstructured.Unstructured) map[string]any {
	meta := map[string]any{"name": o.GetName(), "namespace": o.GetNamespace()}
	if o.GroupVersionKind().Group == definition.Group { // the generation of foreign kinds may change with their status
		meta["generation"] = o.GetGeneration()
		if by := author(o); by != "" {
			meta["managedFields"] = []any{map[string]any{"manager": by}}
		}
	}
	d := map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": meta}
	if spec, ok := o.Object["spec"]; ok {
		d["spec"] = spec
	}
	return d
}

// author returns who last wrote an object, except for its status, or "" if this
// is not known.
func author(o *unstructured.Unstructured) string {
	var newest metav1.ManagedFieldsEntry
	for _, f := range o.GetManagedFields() {
		if f.Subresource == "" && (newest.Manager == "" || f.Time != nil && newest.Time.Before(f.Time)) {
			newest = f
		}
	}
	return newest.Manager
}

// problem returns a problem with the part as a whole.
func (p *part) problem(hint, format string, args ...any) definition.Problem {
	of := p.kind.name
	if p.namespace != "" {
		of += " in namespace " + p.namespace
	}
	return definition.Problem{File: "Kubernetes", Field: of, Message: fmt.Sprintf(format, args...), Hint: hint}
}
