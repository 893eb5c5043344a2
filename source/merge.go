package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
)

// join makes a whole of the files: each with what it holds now where that is
// good by itself and with the others, else with its last good content. It says
// whether definitions or problems are others than before.
func (t *table) join() (changed bool) {
	defer t.kept.write()
	var problems []definition.Problem
	for _, o := range t.sources {
		problems = append(problems, o.unread...)
		if o.leftOut != nil {
			problems = append(problems, *o.leftOut)
		}
	}
	before, goods := t.before(), t.goods()
	m, set, found := t.whole(false)
	held, id := removal(before, set)
	if !t.removeAll && held.tooMuch() && id != t.released {
		m, set, found = t.whole(true)
		problems = append(problems, held.problem(t.place()))
		t.base = before
	} else {
		held, id, t.base = Removal{}, "", nil
	}
	for _, key := range t.sorted() {
		f := t.docs[key]
		switch {
		case f.removed && held == Removal{}:
			delete(t.docs, key)
			t.kept.put(key, nil)
			continue
		case f.removed:
			continue
		}
		if f.trouble != nil {
			problems = append(problems, *f.trouble)
		}
		if f.current != nil {
			problems = append(problems, f.current.problems...)
		}
	}
	problems = append(problems, found...)
	for _, p := range m.parts {
		if p.taken {
			p.doc.good = p.doc.current
			t.kept.put(p.key, p.doc.good.data)
			p.doc.good.data = nil
		}
	}
	set, found = t.withhold(m, set, goods)
	problems = append(problems, found...)
	slices.SortStableFunc(problems, func(a, b definition.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Message, b.Message))
	})
	problems = slices.Compact(problems)
	if t.set != nil && equal(set, t.set) {
		set = t.set
	}
	if !t.known() {
		set = nil
	}
	changed = set != t.set || !slices.Equal(problems, t.problems) || id != t.heldID
	t.set, t.problems, t.held, t.heldID = set, problems, held, id
	return changed
}

// whole merges the files. With hold it takes nothing away: files that were
// removed stay, and no file gets a content that lacks a definition.
func (t *table) whole(hold bool) (*merger, *definition.Set, []definition.Problem) {
	m := &merger{merge: t.merge, budget: trials(len(t.docs))}
	for _, key := range t.sorted() {
		f := t.docs[key]
		if f.removed && !hold {
			continue
		}
		p := &part{key: key, doc: f}
		if f.good != nil {
			p.good = f.good.file
		}
		if f.current != nil && f.current != f.good && !f.removed {
			// A List with errors in it lacks what was good in it before.
			p.waits = (hold || len(f.current.holes) > 0) && lacks(f.current.file, p.good)
			if !p.waits {
				p.fresh = f.current.file
			}
		}
		m.parts = append(m.parts, p)
	}
	set, problems := m.whole()
	return m, set, problems
}

// trials is how many times one join of n files merges all of them to find those
// that don't fit: a second's work at most. With so many files at odds with each
// other that it isn't enough, some that would fit have to wait for the next
// change.
func trials(n int) int { return min(max(16, 100_000/max(1, n)), 200) }

// part is what a file brings to the whole.
type part struct {
	key   Key
	doc   *tracked
	good  *definition.File // last good content; nil: none
	fresh *definition.File // what it holds now, where that is good by itself and new
	taken bool             // fresh is part of the whole
	tried bool             // fresh is part of the trial under way
	waits bool             // what it holds now is held back, and its last good content counts
	said  []definition.Problem
}

// counts is what it brings; nil: nothing.
func (p *part) counts() *definition.File {
	if p.taken {
		return p.fresh
	}
	return p.good
}

// merger finds which of the new versions fit together and with what was good
// before.
type merger struct {
	merge  func([]*definition.File) (*definition.Set, []definition.Problem)
	parts  []*part
	budget int
	base   trial // without anything new
}

// trial is what came of merging.
type trial struct {
	set      *definition.Set
	problems []definition.Problem
	bad      map[string]bool // files with more than a warning
}

// try merges the parts that are taken and those of a group as they are now,
// and all others as they were good.
func (m *merger) try(group ...*part) trial {
	m.budget--
	for _, p := range group {
		p.tried = true
		defer func() { p.tried = false }()
	}
	var old, fresh []*definition.File
	for _, p := range m.parts {
		switch {
		case p.fresh != nil && (p.taken || p.tried):
			fresh = append(fresh, p.fresh)
		case p.good != nil:
			old = append(old, p.good)
		}
	}
	// What was good before goes first: it wins over what is new.
	t := trial{bad: map[string]bool{}}
	t.set, t.problems = m.merge(slices.Concat(old, fresh))
	for _, p := range t.problems {
		if !p.Warning {
			t.bad[p.File] = true
		}
	}
	return t
}

// whole takes all that fits. A new version that is wrong with the others, or
// makes another file wrong that was not, is not taken.
func (m *merger) whole() (*definition.Set, []definition.Problem) {
	var fresh []*part
	for _, p := range m.parts {
		if p.fresh != nil {
			fresh = append(fresh, p)
		}
	}
	all := m.try(fresh...)
	if len(all.bad) == 0 {
		for _, p := range fresh {
			p.taken = true
		}
		return all.set, all.problems
	}
	m.base = m.try()
	// Those that are named go last, or they would take many others with them
	// in the trials.
	var named, others []*part
	for _, p := range fresh {
		if all.bad[p.doc.name] {
			named = append(named, p)
			p.said = all.of(p)
		} else {
			others = append(others, p)
		}
	}
	m.admit(others)
	m.admit(named)

	end := m.try()
	problems := end.problems
	var files []*definition.File
	var homeless []*definition.File
	for _, p := range m.parts {
		if !p.taken {
			problems = append(problems, p.said...)
		}
		f := p.good
		if p.taken {
			f = p.fresh
		}
		switch {
		case f == nil:
		case end.bad[p.doc.name]:
			homeless = append(homeless, f)
		default:
			files = append(files, f)
		}
	}
	return m.adopt(end.set, files, homeless), problems
}

// admit takes those of a group that fit.
func (m *merger) admit(group []*part) {
	if len(group) == 0 {
		return
	}
	if m.budget > 0 {
		t := m.try(group...)
		if m.fits(t, group) {
			for _, p := range group {
				p.taken, p.said = true, nil
			}
			return
		}
		if len(group) == 1 {
			p := group[0]
			if p.said = t.of(p); len(p.said) == 0 {
				p.said = m.refused(p, t)
			}
			return
		}
	} else if len(group) == 1 && len(group[0].said) == 0 {
		group[0].said = []definition.Problem{{File: group[0].doc.name, Message: "not taken in yet: too many other files are at odds with each other"}}
		return
	}
	if len(group) > 1 {
		half := len(group) / 2
		m.admit(group[:half])
		m.admit(group[half:])
	}
}

// fits says whether nothing is wrong with what was tried, but for what was
// wrong without it.
func (m *merger) fits(t trial, group []*part) bool {
	for path := range t.bad {
		if !m.base.bad[path] {
			return false
		}
	}
	return !slices.ContainsFunc(group, func(p *part) bool { return t.bad[p.doc.name] })
}

// refused says why a version is not taken that is not wrong itself: it makes
// other files wrong.
func (m *merger) refused(p *part, t trial) []definition.Problem {
	var said []definition.Problem
	for _, other := range t.problems {
		if !other.Warning && !m.base.bad[other.File] {
			said = append(said, definition.Problem{
				File:    p.doc.name,
				Message: fmt.Sprintf("not taken in, its last good content stays: with it, another file would be wrong: %v", other),
				Hint:    "change that file first",
			})
		}
	}
	return said
}

// of gives the problems that a part has.
func (t trial) of(p *part) []definition.Problem {
	var of []definition.Problem
	for _, problem := range t.problems {
		if problem.File == p.doc.name && !problem.Warning {
			of = append(of, problem)
		}
	}
	return of
}
