package source

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"wasmxds/definition"
)

// holes returns the holes of documents that were never good.
func (t *table) holes(m *merger) []*definition.Hole {
	var holes []*definition.Hole
	for _, o := range t.sources {
		for _, p := range o.dark {
			holes = append(holes, definition.Unread(p))
		}
		if o.leftOut != nil {
			holes = append(holes, definition.Unread(*o.leftOut))
		}
	}
	for _, p := range m.parts {
		f := p.doc
		switch v := f.current; {
		case f.removed:
		case v == nil:
			if f.good == nil && f.trouble != nil {
				holes = append(holes, definition.Unread(*f.trouble))
			}
		case v == f.good:
			holes = append(holes, v.holes...)
		case p.waits:
		default:
			missing := v.holes
			if v.file != nil && len(p.said) > 0 {
				missing = slices.Concat(missing, v.file.Holes(p.said[0]))
			}
			holes = append(holes, never(missing, p.good)...)
		}
	}
	return holes
}

// never returns the holes that do not correspond to definitions in the last
// good content of the file, which stays in force. Rollouts and tests have name
// spaces of their own.
func never(holes []*definition.Hole, good *definition.File) []*definition.Hole {
	if good == nil {
		return holes
	}
	holes = slices.DeleteFunc(slices.Clone(holes), func(h *definition.Hole) bool {
		return h.IsTest() && slices.ContainsFunc(good.Tests, func(t *definition.FilterTest) bool { return t.Filter == h.Tests })
	})
	isRollout := (*definition.Hole).IsRollout
	isTest := (*definition.Hole).IsTest
	tests := slices.DeleteFunc(slices.Clone(holes), func(h *definition.Hole) bool { return !isTest(h) })
	holes = slices.DeleteFunc(holes, isTest)
	policies := slices.DeleteFunc(slices.Clone(holes), func(h *definition.Hole) bool { return !isRollout(h) })
	others := slices.DeleteFunc(slices.Clone(holes), isRollout)
	rollouts := map[string]bool{}
	for _, d := range good.Rollouts {
		rollouts[d.Name] = true
	}
	policies = neverOf(policies, rollouts)
	left := map[string]bool{}
	for _, d := range good.Filters {
		left[d.Name] = true
	}
	for _, d := range good.Listeners {
		left[d.Name] = true
	}
	for _, d := range good.Resources {
		left[d.Name] = true
	}
	others = neverOf(others, left)
	// A Rollout that no longer exists may be a hole of an unknown kind.
	for range rollouts {
		if i := slices.IndexFunc(others, func(h *definition.Hole) bool { return h.Kind == "" && h.Name == "" }); i >= 0 {
			others = slices.Delete(others, i, i+1)
		}
	}
	return slices.Concat(others, policies, tests)
}

// neverOf does the same in one name space. It leaves in left the names that are
// in no hole.
func neverOf(holes []*definition.Hole, left map[string]bool) []*definition.Hole {
	var unnamed, out []*definition.Hole
	for _, h := range holes {
		had := left[h.Name]
		for name := range left {
			if name == h.Name || severalOf(h.Kind) && strings.HasPrefix(name, h.Name+".") {
				had = true
				delete(left, name)
			}
		}
		switch {
		case had:
		case h.Name == "" || h.Kind == "EnvoyFilter": // their filters have other names
			unnamed = append(unnamed, h)
		default:
			out = append(out, h)
		}
	}
	// A name that no longer exists may be that of a document without a name.
	for name := range left {
		if len(unnamed) == 0 {
			break
		}
		delete(left, name)
		unnamed = unnamed[1:]
	}
	return append(out, unnamed...)
}

// severalOf reports whether a document of a kind may have several filters,
// whose names begin with its own.
func severalOf(kind string) bool {
	return kind == "EnvoyExtensionPolicy" || kind == "WasmPlugin" || kind == "TrafficExtension"
}

// inForce is a listener in force, with its document.
type inForce struct {
	listener any // *definition.Listener or *definition.Resource
	document []byte
}

// listenersIn returns the listeners of files, by name.
func listenersIn(files []*definition.File) map[string]inForce {
	all := map[string]inForce{}
	for _, f := range files {
		for _, l := range f.Listeners {
			all[l.Name] = inForce{l, f.Document(l)}
		}
		for _, r := range f.Resources {
			if _, ok := r.Target(); ok {
				all[r.Name] = inForce{r, f.Document(r)}
			}
		}
	}
	return all
}

// withhold determines which listeners of a set wait until a hole is mended.
// Those that were in force before stay unchanged: their changes wait, too,
// because a change may depend on the missing filter. The parameter before has
// the files that were in force until now.
func (t *table) withhold(m *merger, set *definition.Set, before []*definition.File) (*definition.Set, []definition.Problem) {
	holes := t.holes(m)
	set = withTestHoles(withRolloutHoles(set, holes), holes)
	if !slices.ContainsFunc(holes, func(h *definition.Hole) bool {
		return h.OnFailure != definition.Open && len(h.Attach.Listeners) > 0
	}) {
		if t.force != nil {
			t.kept.putForce(nil)
		}
		t.force = nil
		return set, nil
	}
	if t.force == nil {
		t.force = listenersIn(before)
	}
	var files []*definition.File
	for _, p := range m.parts {
		if f := p.counts(); f != nil {
			files = append(files, f)
		}
	}
	w := &withholding{was: t.force, written: listenersIn(files), force: map[string]inForce{}}
	names := make([]string, 0, len(w.written))
	for name := range w.written {
		names = append(names, name)
	}
	for _, h := range holes {
		if h.Kind == "Listener" && h.Name != "" {
			names = append(names, h.Name)
		}
	}
	for _, h := range holes {
		w.holes = append(w.holes, h.Meant(names))
	}
	out := *set
	out.Listeners = slices.Clone(set.Listeners)
	for i, l := range out.Listeners {
		if instead, ok := w.decide(l, l.Name, l.Target(), l.TCP == nil, l.Nodes, l.Pos).(*definition.Listener); ok {
			out.Listeners[i] = instead
		}
	}
	out.Resources = slices.Clone(set.Resources)
	for i, r := range out.Resources {
		target, listener := r.Target()
		if !listener || !r.TakesFilters() {
			continue
		}
		if instead, ok := w.decide(r, r.Name, target, r.HTTP(), definition.Selector{}, r.Pos).(*definition.Resource); ok {
			out.Resources[i] = instead
		}
	}
	out.Withheld = w.withheld
	t.force = w.force
	t.keepForce()
	return &out, w.problems
}

// withRolloutHoles returns the set with the Rollouts that were never good.
func withRolloutHoles(set *definition.Set, holes []*definition.Hole) *definition.Set {
	holes = slices.DeleteFunc(slices.Clone(holes), func(h *definition.Hole) bool { return !h.MayBeRollout() })
	if len(holes) == 0 {
		return set
	}
	out := *set
	out.RolloutHoles = holes
	return &out
}

// withTestHoles returns the set with the FilterTests that were never good and
// whose filter is known.
func withTestHoles(set *definition.Set, holes []*definition.Hole) *definition.Set {
	holes = slices.DeleteFunc(slices.Clone(holes), func(h *definition.Hole) bool { return !h.IsTest() || h.Tests == "" })
	if len(holes) == 0 {
		return set
	}
	out := *set
	out.TestHoles = holes
	return &out
}

// withholding decides about each listener of a set.
type withholding struct {
	holes    []*definition.Hole
	was      map[string]inForce // in force until now
	written  map[string]inForce // as in the files
	force    map[string]inForce // in force from now on
	withheld []definition.Withheld
	problems []definition.Problem
}

// decide returns what to serve of a listener: the listener itself, even if it
// is withheld, or the one that was in force.
func (w *withholding) decide(l any, name string, target definition.Target, http bool, nodes definition.Selector, pos definition.Position) any {
	is := inForce{l, w.written[name].document}
	var by []*definition.Hole
	for _, h := range w.holes {
		if h.MayBelongIn(target, nodes) && h.Takes(http) {
			by = append(by, h)
		}
	}
	was, had := w.was[name]
	if len(by) == 0 || had && bytes.Equal(was.document, is.document) {
		w.force[name] = is
		return l
	}
	what := "is withheld"
	same := had && reflect.TypeOf(was.listener) == reflect.TypeOf(l)
	if of := namespacesOf(by); len(of) > 0 && nodes.Labels[definition.NamespaceLabel] == "" {
		// An object blocks nothing for the Envoys of other namespaces.
		what, same = "is withheld from the Envoys of "+strings.Join(of, ", "), false
	}
	if same {
		what = "stays as it was"
	}
	w.problems = append(w.problems, definition.Problem{
		File: pos.File, Line: pos.Line,
		Message: fmt.Sprintf("listener %s %s: a filter that may be meant for it can't be read: %v: %v", name, what, by[0], by[0].Cause),
		Hint:    "fix that document or delete it",
	})
	if same {
		w.force[name] = was
		return was.listener
	}
	w.withheld = append(w.withheld, definition.Withheld{Listener: name, Pos: pos, By: by})
	return l
}

// namespacesOf returns the namespaces of the holes, or nil if one of them has
// no namespace.
func namespacesOf(holes []*definition.Hole) []string {
	var all []string
	for _, h := range holes {
		in := h.Attach.Nodes.Labels[definition.NamespaceLabel]
		if in == "" {
			return nil
		}
		all = append(all, in)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// forceFile is the key of the stored listeners that are in force while others
// are withheld. The last good content of files includes both.
const forceFile = ".in-force.json"

func (t *table) keepForce() {
	names := make([]string, 0, len(t.force))
	for name := range t.force {
		names = append(names, name)
	}
	slices.Sort(names)
	data := []byte{}
	for _, name := range names {
		data = append(append(data, t.force[name].document...), '\n')
	}
	if t.forceKept == nil || !bytes.Equal(data, t.forceKept) {
		t.forceKept = data
		t.kept.putForce(data)
	}
}

// restoreForce restores the listeners that were in force while others were
// withheld.
func (t *table) restoreForce(data []byte) {
	file, problems := definition.Parser{}.Parse(forceFile, data)
	if file == nil {
		t.log.Warn("this xds-server can't use the listeners that were in force", "problem", problems[0].Error())
		t.force = map[string]inForce{}
		return
	}
	t.force, t.forceKept = listenersIn([]*definition.File{file}), data
}

// sameHoles reports whether two sets have the same holes and withheld
// listeners.
func sameHoles(a, b *definition.Set) bool {
	return reflect.DeepEqual(a.Withheld, b.Withheld) && reflect.DeepEqual(a.RolloutHoles, b.RolloutHoles) && reflect.DeepEqual(a.TestHoles, b.TestHoles)
}
