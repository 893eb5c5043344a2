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

// times are how long what takes.
type times struct {
	quiet    time.Duration // without changes, before they are sent
	max      time.Duration // that changes may go on before they are sent all the same
	patience time.Duration // that the API server may fail before it is told
	doubt    time.Duration // after which it is asked whether an object is gone or its kind
	grace    time.Duration // that objects may be missing when a kind is served again
}

// table has what is known of all objects. Followers write it, run sends it.
type table struct {
	times
	removeAll bool
	log       *slog.Logger
	wake      chan struct{} // something is other than before
	doubts    chan struct{} // an object is gone
	named     chan struct{} // others are named than before

	mu      sync.Mutex
	parts   []*part
	values  map[valueKey]*value // that objects name
	dead    []string            // documents that are gone, and not sent yet
	changes burst.Burst         // that are not sent yet
}

// part is the objects of one kind, in one namespace or in all.
type part struct {
	table     *table
	kind      kind
	namespace string // "": all

	objects map[string]*object // by the document's name
	synced  bool               // objects are all that there are, as far as was told
	absent  bool               // the kind was not served last; until it is listed
	state   outcome
	why     error
	since   time.Time          // of state
	again   context.CancelFunc // has it listed again; nil: it is not followed yet
}

// outcome is what became of the last request.
type outcome int

const (
	pending  outcome = iota // none has been answered
	answered                // as it should be
	absent                  // the kind is not served
	denied                  // it may not be read
	failing                 // the API server can't be reached, or can't answer
)

// object is one that there is, or was until just now.
type object struct {
	namespace, name string
	written         map[string]any // what counts of it, but for what it names
	names           *reference     // nil: nothing
	data            []byte         // nil: what it names is not known yet
	uid             types.UID
	generation      int64          // that people have written last
	status          map[string]any // as it was seen
	fresh           bool           // data is not sent yet
	doubted         time.Time      // it is gone; then it is asked whether its kind is
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

// begins notes what has the part listed again.
func (p *part) begins(again context.CancelFunc) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.again = again
}

// signal wakes whoever waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// touch notes a change. The table is locked.
func (t *table) touch() {
	t.changes.Touch(time.Now())
	signal(t.wake)
}

// outcome notes what became of a request.
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

// unserved notes what one part has heard: its kind is not served, in no namespace. So
// nothing of it is in doubt, not even where it is served again before that is asked.
// The table is locked.
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

// put takes in an object that is there.
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
	known.status, _, _ = unstructured.NestedMap(o.Object, "status") // what is none is none
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

// render makes an object's document.
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

// delete takes in that an object is gone.
func (p *part) delete(namespace, name string) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if o := p.objects[p.name(namespace, name)]; o != nil && o.doubted.IsZero() {
		o.doubted = time.Now().Add(p.table.doubt)
		signal(p.table.doubts)
	}
}

// replace takes in all that there is.
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

// document is what counts of an object.
func document(o *unstructured.Unstructured) map[string]any {
	meta := map[string]any{"name": o.GetName(), "namespace": o.GetNamespace()}
	if o.GroupVersionKind().Group == definition.Group { // others count changes of their status
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

// author is who wrote an object last, not counting its status; "": it is not known.
func author(o *unstructured.Unstructured) string {
	var newest metav1.ManagedFieldsEntry
	for _, f := range o.GetManagedFields() {
		if f.Subresource == "" && (newest.Manager == "" || f.Time != nil && newest.Time.Before(f.Time)) {
			newest = f
		}
	}
	return newest.Manager
}

// problem tells of the part as a whole.
func (p *part) problem(hint, format string, args ...any) definition.Problem {
	of := p.kind.name
	if p.namespace != "" {
		of += " in namespace " + p.namespace
	}
	return definition.Problem{File: "Kubernetes", Field: of, Message: fmt.Sprintf(format, args...), Hint: hint}
}
