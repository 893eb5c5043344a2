package definition

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"wasmxds/definition/internal/document"
)

// Merge joins files and checks what only the whole can show: names used twice
// and references to nothing. The earlier file wins. A file with an error is
// left out as a whole, and the problem names it. The set is made from all other
// files, and is always usable. Merge keeps the pointers of the files.
func Merge(files []*File) (*Set, []Problem) {
	var problems []Problem
	files = slices.Clone(files)
	for {
		found := duplicates(files)
		if len(found) == 0 {
			found = collisions(files)
		}
		if len(found) == 0 {
			found = twoClusters(files)
		}
		if len(found) == 0 {
			found = dangling(files)
		}
		if len(found) == 0 {
			found = misfits(files)
		}
		if len(found) == 0 {
			found = misrouted(files)
		}
		if len(found) == 0 {
			break
		}
		problems = append(problems, found...)
		files = slices.DeleteFunc(files, func(f *File) bool {
			return slices.ContainsFunc(found, func(p Problem) bool { return p.File == f.Name })
		})
	}
	set := merged(files)
	set.Filters = append(set.Filters, variants(files)...)
	slices.SortFunc(set.Filters, func(a, b *Filter) int { return strings.Compare(a.Name, b.Name) })
	problems = append(problems, warnings(files, set)...)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return set, problems
}

func merged(files []*File) *Set {
	set := &Set{}
	for _, f := range files {
		set.Filters = append(set.Filters, f.Filters...)
		set.Listeners = append(set.Listeners, f.Listeners...)
		set.Resources = append(set.Resources, f.Resources...)
		set.Rollouts = append(set.Rollouts, f.Rollouts...)
		set.Tests = append(set.Tests, f.Tests...)
	}
	slices.SortFunc(set.Filters, func(a, b *Filter) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(set.Listeners, func(a, b *Listener) int { return strings.Compare(a.Name, b.Name) })
	// Of equal resources that several objects add, the first one counts.
	slices.SortStableFunc(set.Resources, func(a, b *Resource) int {
		return cmp.Or(strings.Compare(a.TypeURL, b.TypeURL), strings.Compare(a.Name, b.Name))
	})
	set.Resources = slices.CompactFunc(set.Resources, func(a, b *Resource) bool {
		return a.TypeURL == b.TypeURL && a.Name == b.Name
	})
	slices.SortFunc(set.Rollouts, func(a, b *Rollout) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(set.Tests, orderOfTests)
	return set
}

// named is a definition with its name.
type named struct {
	definition any    // *Filter, *Listener, *Resource or *Rollout: key of File.origins
	of         string // the name space: a type URL, or a kind
	name       string
	what       string // for people
	pos        Position
	object     string // the Kubernetes object that adds it to others, for people; "": it is a document by itself
}

func (f *File) definitions() []named {
	var all []named
	for _, d := range f.Filters {
		all = append(all, named{definition: d, of: extensionType, name: d.Name, what: "filter", pos: d.Pos})
	}
	for _, d := range f.Listeners {
		all = append(all, named{definition: d, of: listenerType, name: d.Name, what: "listener", pos: d.Pos})
	}
	for _, d := range f.Resources {
		what := d.TypeURL[strings.LastIndex(d.TypeURL, ".")+1:]
		switch d.TypeURL {
		case listenerType:
			what = "listener"
		case extensionType:
			what = "filter"
		}
		all = append(all, named{d, d.TypeURL, d.Name, what, d.Pos, f.origins[d].adder()})
	}
	for _, d := range f.Rollouts {
		all = append(all, named{definition: d, of: rolloutKind, name: d.Name, what: rolloutKind, pos: d.Pos})
	}
	slices.SortStableFunc(all, func(a, b named) int { return cmp.Compare(a.pos.Line, b.pos.Line) })
	return all
}

// takenNames are the names that are in use, by type URL and name.
type takenNames map[[2]string]named

func newNames() takenNames { return takenNames{} }

// take reserves the definition's name, or returns the definition that already
// has it.
func (n takenNames) take(d named) (other named, taken bool) {
	key := [2]string{d.of, d.name}
	if other, taken = n[key]; !taken {
		n[key] = d
	}
	return other, taken
}

// repeats reports whether d only says once more what other says: objects that
// need a cluster often add it each, so that each can be applied alone. Two
// documents that are resources by themselves are still an error, even if they
// are equal, because a later edit of one of them would do nothing.
func (d named) repeats(other named) bool {
	return (d.object != "" || other.object != "") && d.equals(other)
}

// equals reports whether two resources are equal, however they are written.
func (d named) equals(other named) bool {
	a, ok := d.definition.(*Resource)
	b, both := other.definition.(*Resource)
	return ok && both && a.TypeURL == b.TypeURL && proto.Equal(a.Message, b.Message)
}

func (f *File) duplicate(d, other named) Problem {
	if d.object == "" && other.object == "" {
		hint := ""
		if d.equals(other) {
			hint = "the two are equal: delete one of them"
		}
		return f.problem(d.definition, "name", fmt.Sprintf("%s %q is already defined in %v", d.what, d.name, other.pos), hint)
	}
	mine, theirs := fmt.Sprintf("%s %q", d.what, d.name), "the one"
	if d.object != "" {
		mine += " of " + d.object
	}
	if other.object != "" {
		theirs = "that of " + other.object
	}
	return f.problem(d.definition, "name", fmt.Sprintf("%s differs from %s in %v", mine, theirs, other.pos), "make the two equal, or give one of them another name")
}

// problem returns a problem with a field of one of this file's definitions. The
// path of the field is that in a WasmFilter.
func (f *File) problem(definition any, path, message, hint string) Problem {
	from := f.origins[definition]
	root := from.written()
	field := root.Locate(document.Steps(from.path(path)))
	return Problem{File: f.Name, Line: root.LineOf(field), Field: joinPath(from.within, field), Message: message, Hint: hint}
}

func duplicates(files []*File) []Problem {
	var problems []Problem
	taken := newNames()
	for _, f := range files {
		var mine []named
		bad := false
		for _, d := range f.definitions() {
			key := [2]string{d.of, d.name}
			if other, ok := taken[key]; ok && !d.repeats(other) {
				problems = append(problems, f.duplicate(d, other))
				bad = true
			}
			mine = append(mine, d)
		}
		if bad {
			continue // a file that is left out reserves no names
		}
		for _, d := range mine {
			taken.take(d)
		}
	}
	return problems
}

// targets returns the targets of all listeners, including raw ones.
func (s *Set) targets() []Target {
	var all []Target
	for _, l := range s.Listeners {
		all = append(all, l.Target())
	}
	for _, r := range s.Resources {
		if t, ok := r.Target(); ok {
			all = append(all, t)
		}
	}
	return all
}
