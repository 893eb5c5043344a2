package resource

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// Options are the settings that resources depend on in addition to the
// definitions. A Catalog shares nothing with a previous one that was compiled
// with other Options.
type Options struct {
	// ModulesURL is the URL at which Envoys reach the module server:
	// "http://127.0.0.1:18001".
	ModulesURL string
	// ModulesCluster is the name of the module server's cluster; "" means
	// "wasmxds-modules".
	ModulesCluster string
	// FetchTimeout bounds one download of a module by an Envoy; 0 means one
	// minute.
	FetchTimeout time.Duration
	// TrustedCA is the file of certificate authorities, on the Envoys'
	// machines, that TLS upstreams are verified against; "" means
	// /etc/ssl/certs/ca-certificates.crt, which Debian, Alpine and Envoy's own
	// images have. (Envoy can't use the system's store: system_root_certs is in
	// its API, but not implemented as of 1.40.)
	TrustedCA string
	// Signals is the cluster in Envoys' bootstraps that leads to the ADS
	// address. The access loggers of HTTP connection managers report crashed
	// VMs and sampled requests there. Without that cluster, Envoy still accepts
	// the listener, but reports nothing. If Signals is "", there are no
	// loggers.
	Signals string
	// RecordHeaders are names of request headers, separated by commas, that the logger of
	// sampled requests reports besides those that each entry has. They are part of the
	// version of a listener.
	RecordHeaders string
	// Spares is the number of spare slots of each listener; the zero value is
	// none.
	Spares Spares
}

func (o Options) withDefaults() Options {
	o.ModulesURL = strings.TrimSuffix(o.ModulesURL, "/")
	o.ModulesCluster = cmp.Or(o.ModulesCluster, "wasmxds-modules")
	o.FetchTimeout = cmp.Or(o.FetchTimeout, fetchTimeout)
	o.TrustedCA = cmp.Or(o.TrustedCA, "/etc/ssl/certs/ca-certificates.crt")
	return o
}

// catalogEntry is one compiled definition.
type catalogEntry struct {
	key      key
	nodes    *selector
	part     part // nil: it could not be compiled; see problems
	pos      definition.Position
	problems []definition.Problem
}

// key identifies an entry of a Catalog.
type key struct{ typeURL, name string }

// part is a compiled definition: a *filter, a *service, a *listener or a *raw.
type part interface {
	// same reports whether Envoys can't distinguish the two.
	same(part) bool
}

// Compile compiles sets. It reuses what prev, which may be nil, has compiled,
// and compiles what several of the sets share once. It identifies definitions
// by their pointers. One that compiles to the same result as before, or as in
// another set, is treated as the same.
//
// A definition that can't be compiled is left out and reported in the Problems.
// It does not affect others.
func Compile(prev *Catalog, sets Sets, opts Options) (*Catalog, Problems) {
	opts = opts.withDefaults()
	if prev == nil || prev.opts != opts {
		prev = newCatalog(opts, newLineage())
	}
	c := newCatalog(opts, prev.lineage)
	c.standby, c.pairs = sets.Standby, sets.Pairs
	var all []definition.Problem // problems that belong to no definition
	if c.moduleServer = prev.moduleServer; c.moduleServer == nil {
		all = c.modules()
	}
	problems := Problems{Choices: map[Choice][]definition.Problem{}}
	before := prev.views()
	c.base = c.compile(sets.Base, before)
	problems.Base = slices.Concat(all, c.base.problems)
	for _, choice := range slices.Sorted(maps.Keys(sets.Choices)) {
		if choice == "" {
			continue
		}
		v := c.compile(sets.Choices[choice], append(c.views(), before...))
		c.choices[choice] = v
		if more := without(v.problems, c.base.problems); len(more) > 0 {
			problems.Choices[choice] = more
		}
	}
	c.groups.tidy()
	return c, problems
}

// without returns the problems that are not in others.
func without(problems, others []definition.Problem) []definition.Problem {
	known := make(map[definition.Problem]bool, len(others))
	for _, p := range others {
		known[p] = true
	}
	var more []definition.Problem
	for _, p := range problems {
		if !known[p] {
			more = append(more, p)
		}
	}
	return more
}

// views returns all views, the base first.
func (c *Catalog) views() []*view {
	views := append(make([]*view, 0, 1+len(c.choices)), c.base)
	for _, v := range c.choices {
		views = append(views, v)
	}
	return views
}

// compile compiles one set, and reuses what others have of it.
func (c *Catalog) compile(set *module.Set, others []*view) *view {
	for _, v := range others {
		if v.set == set && v.pairs.same(c.pairs) {
			return v
		}
	}
	b := &builder{Catalog: c, view: newView(set), others: others}
	b.view.pairs = pairsOf(set.Listeners, c.pairs)
	for _, f := range set.Filters {
		b.add(f, func() *catalogEntry { return b.filterEntry(f) })
	}
	for _, l := range set.Listeners {
		b.add(b.view.pairs.source(l), func() *catalogEntry { return b.listenerEntry(l) })
	}
	for _, r := range set.Resources {
		b.add(r, func() *catalogEntry { return b.rawEntry(r) })
	}
	if err := b.holes(append(slices.Clip(set.Withheld), b.view.pairs.withheld(set.Listeners)...)); err != nil {
		b.problems = append(b.problems, definition.Problem{Message: err.Error()})
	}
	b.settleHoles()
	b.waiting()
	b.misplaced()
	slices.SortStableFunc(b.problems, func(a, b definition.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	b.share()
	return b.view
}

// builder fills a view.
type builder struct {
	*Catalog
	*view
	others []*view // views of this Catalog and the previous one, whose results are reused
}

// add puts the entry of source, the pointer of a definition, into the view. It
// compiles the entry only if no other view has one for this pointer.
func (b *builder) add(source any, compile func() *catalogEntry) {
	e := b.made(source)
	if e == nil {
		b.compiled++
		e = compile()
		if e.part != nil {
			e.part = b.known(e.key, e.part)
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

// made returns the entry of a definition's pointer, or nil if no other view has
// it.
func (b *builder) made(source any) *catalogEntry {
	for _, v := range b.others {
		if e := v.entries[source]; e != nil {
			return e
		}
	}
	return nil
}

// known returns the part of another view that Envoys can't distinguish from p,
// or p itself if there is none.
func (b *builder) known(k key, p part) part {
	for _, v := range b.others {
		if e := v.byKey[k]; e != nil && e.part != nil && e.part.same(p) {
			return e.part
		}
	}
	return p
}

// share reuses the holdings and the index of other views if they are equal.
func (b *builder) share() {
	for s, h := range b.holdings {
		h.sort()
		b.holdings[s] = b.shared(s, h)
	}
	for _, v := range b.others {
		if b.selectsAs(v) {
			b.all = v.all
			return
		}
	}
	b.all = newIndex(slices.Collect(maps.Keys(b.holdings)))
}

func (b *builder) shared(s *selector, h *holding) *holding {
	for _, v := range b.others {
		if o := v.holdings[s]; o != nil && o.equal(h) {
			return o
		}
	}
	h.id = b.ids.Add(1)
	return h
}

// waiting warns about listeners that wait for a filter that does not exist.
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

// sameNodes returns the shared selector that is equivalent to s.
func (b *builder) sameNodes(s definition.Selector) *selector {
	name := canonical(s)
	if known := b.selectors[name]; known != nil {
		return known
	}
	for _, v := range b.others {
		if known := v.selectors[name]; known != nil {
			return known
		}
	}
	return &selector{name: name, Selector: s}
}

func problem(at definition.Position, field, format string, args ...any) definition.Problem {
	return definition.Problem{File: at.File, Line: at.Line, Field: field, Message: fmt.Sprintf(format, args...)}
}
