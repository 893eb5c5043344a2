package resource

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// Options are what resources need to know besides the definitions. A Catalog
// compiled with other Options than the one before shares nothing with it.
type Options struct {
	// ModulesURL is where Envoys reach the module server:
	// "http://127.0.0.1:18001".
	ModulesURL string
	// ModulesCluster is the name of the module server's cluster; "" means
	// "wasmxds-modules".
	ModulesCluster string
	// FetchTimeout bounds one download of a module by an Envoy; 0 means a
	// minute.
	FetchTimeout time.Duration
	// TrustedCA is the file of certificate authorities, on the Envoys'
	// machines, that TLS upstreams are verified against; "" means
	// /etc/ssl/certs/ca-certificates.crt, where Debian, Alpine and Envoy's own
	// images have it. (Envoy has no working word for "the system's":
	// system_root_certs is in its API but not implemented as of 1.40.)
	TrustedCA string
	// Spares are the empty slots of each listener; the zero value is none.
	Spares Spares
}

func (o Options) withDefaults() Options {
	o.ModulesURL = strings.TrimSuffix(o.ModulesURL, "/")
	o.ModulesCluster = cmp.Or(o.ModulesCluster, "wasmxds-modules")
	o.FetchTimeout = cmp.Or(o.FetchTimeout, fetchTimeout)
	o.TrustedCA = cmp.Or(o.TrustedCA, "/etc/ssl/certs/ca-certificates.crt")
	return o
}

// catalogEntry is one definition, compiled.
type catalogEntry struct {
	key      key
	nodes    *selector
	part     part // nil: it could not be compiled, problems say why
	pos      definition.Position
	problems []definition.Problem
}

// key is what an entry is known by: at most one of each is in a Catalog.
type key struct{ typeURL, name string }

// part is what becomes of a definition: a *filter, a *listener or a *raw.
type part interface {
	// same says whether Envoys can't tell the two apart.
	same(part) bool
}

// Compile compiles set. What the previous Catalog, which may be nil, has
// compiled already is taken over: definitions are told apart by their
// pointers, and one that compiles to what it was before counts as unchanged.
//
// A definition that can't be compiled is left out and told of in the
// Problems; it takes no other with it.
func Compile(prev *Catalog, set *module.Set, opts Options) (*Catalog, []definition.Problem) {
	opts = opts.withDefaults()
	fresh := prev == nil || prev.opts != opts
	if fresh {
		prev = newCatalog(opts)
	}
	c := newCatalog(opts)
	c.gate, c.primers, c.nextID = prev.gate, prev.primers, prev.nextID

	b := &builder{Catalog: c, prev: prev}
	b.modules()
	for _, f := range set.Filters {
		b.add(f, func() *catalogEntry { return b.filterEntry(f) })
	}
	for _, l := range set.Listeners {
		b.add(l, func() *catalogEntry { return b.listenerEntry(l) })
	}
	for _, r := range set.Resources {
		b.add(r, func() *catalogEntry { return b.rawEntry(r) })
	}
	if err := b.holes(set.Withheld); err != nil {
		b.problems = append(b.problems, definition.Problem{Message: err.Error()})
	}
	b.settleHoles()
	b.waiting()
	b.misplaced()
	slices.SortStableFunc(b.problems, func(a, b definition.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	c.settle(prev, fresh)
	return c, b.problems
}

// builder fills a Catalog.
type builder struct {
	*Catalog
	prev     *Catalog
	problems []definition.Problem
}

// add puts the entry of source, a definition's pointer, into the Catalog, made
// anew only where the previous one has none for this pointer.
func (b *builder) add(source any, compile func() *catalogEntry) {
	e := b.prev.entries[source]
	if e == nil {
		b.compiled++
		e = compile()
		if old := b.prev.byKey[e.key]; old != nil && old.part != nil && e.part != nil && old.part.same(e.part) {
			e.part = old.part
		}
	}
	if b.byKey[e.key] != nil {
		b.problems = append(b.problems, problem(e.pos, "name", "%q is used twice", e.key.name))
		return
	}
	b.problems = append(b.problems, e.problems...)
	b.entries[source], b.byKey[e.key] = e, e
	if e.part != nil {
		b.selectors[e.nodes.name] = e.nodes
		b.contents(e.nodes).put(e)
	}
}

// waiting warns of listeners that wait for a filter that is nowhere.
func (b *builder) waiting() {
	for _, e := range b.byKey {
		l, ok := e.part.(*listener)
		if !ok {
			continue
		}
		for _, name := range l.own {
			if filter := b.byKey[key{ExtensionType, name}]; filter == nil || filter.part == nil {
				p := problem(e.pos, "", "listener %s: its slot %s takes a filter that is not there", e.key.name, name)
				p.Warning = true
				b.problems = append(b.problems, p)
			}
		}
	}
}

// sameNodes gives the selector that selects as s does.
func (b *builder) sameNodes(s definition.Selector) *selector {
	name := canonical(s)
	if known := b.selectors[name]; known != nil {
		return known
	}
	if known := b.prev.selectors[name]; known != nil {
		return known
	}
	b.nextID++
	return &selector{id: b.nextID, name: name, Selector: s}
}

func problem(at definition.Position, field, format string, args ...any) definition.Problem {
	return definition.Problem{File: at.File, Line: at.Line, Field: field, Message: fmt.Sprintf(format, args...)}
}
