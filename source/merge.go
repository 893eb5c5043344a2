package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
)

// join combines the files. Each contributes its current content if that is
// valid by itself and together with the others, and otherwise its last good
// content. It reports whether definitions or problems have changed.
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

// whole merges the files. With hold, nothing is removed: deleted files stay,
// and no file gets content that lacks one of its definitions.
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
			// A List with errors lacks definitions that were good before.
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

// trials returns how often one join of n files may merge all of them to find
// those that don't fit: at most about a second of work. If more files conflict
// with each other, some that would fit wait for the next change.
func trials(n int) int { return min(max(16, 100_000/max(1, n)), 200) }

// part is the contribution of a file.
type part struct {
	key   Key
	doc   *tracked
	good  *definition.File // last good content; nil: none
	fresh *definition.File // current content, if it is valid by itself and new
	taken bool             // fresh is in the result
	tried bool             // fresh is in the current trial
	waits bool             // the current content is held back, and the last good content stays
	said  []definition.Problem
}

// counts returns the contribution of the part to the result, or nil.
func (p *part) counts() *definition.File {
	if p.taken {
		return p.fresh
	}
	return p.good
}

// merger determines which of the new contents fit together, and with the last
// good contents of the others.
type merger struct {
	merge  func([]*definition.File) (*definition.Set, []definition.Problem)
	parts  []*part
	budget int
	base   trial // without any new content
}

// trial is the result of a merge.
type trial struct {
	set      *definition.Set
	problems []definition.Problem
	bad      map[string]bool // files with an error
}

// try merges the new contents of the parts that are taken and of a group, and
// the last good contents of all others.
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
	// Last good contents come first, so that they win over new ones.
	t := trial{bad: map[string]bool{}}
	t.set, t.problems = m.merge(slices.Concat(old, fresh))
	for _, p := range t.problems {
		if !p.Warning {
			t.bad[p.File] = true
		}
	}
	return t
}

// whole takes all new contents that fit. It does not take one that conflicts
// with others, or that makes another file invalid that was valid.
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
	// Files with errors come last: in the trials, they would cause many others
	// to be rejected.
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

// admit takes the parts of a group that fit.
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
		group[0].said = []definition.Problem{{File: group[0].doc.name, Message: "not applied yet: too many other files conflict with each other"}}
		return
	}
	if len(group) > 1 {
		half := len(group) / 2
		m.admit(group[:half])
		m.admit(group[half:])
	}
}

// fits reports whether a trial has no errors, apart from those that exist
// without the group.
func (m *merger) fits(t trial, group []*part) bool {
	for path := range t.bad {
		if !m.base.bad[path] {
			return false
		}
	}
	return !slices.ContainsFunc(group, func(p *part) bool { return t.bad[p.doc.name] })
}

// refused returns why a content is not taken although it is valid itself: it
// makes other files invalid.
func (m *merger) refused(p *part, t trial) []definition.Problem {
	var said []definition.Problem
	for _, other := range t.problems {
		if !other.Warning && !m.base.bad[other.File] {
			said = append(said, definition.Problem{
				File:    p.doc.name,
				Message: fmt.Sprintf("not applied, and its last good version stays in force: with it, another file would have an error: %v", other),
				Hint:    "change that file first",
			})
		}
	}
	return said
}

// of returns the errors of a part.
func (t trial) of(p *part) []definition.Problem {
	var of []definition.Problem
	for _, problem := range t.problems {
		if problem.File == p.doc.name && !problem.Warning {
			of = append(of, problem)
		}
	}
	return of
}
