package module

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"wasmxds/definition"
)

// resolution is the state of Resolver.Run. Its fields are owned by the
// goroutine of run; others post functions to it.
type resolution struct {
	*Resolver
	ctx     context.Context
	group   *errgroup.Group
	watcher *fileWatcher
	news    chan func()
	emit    func(*Set)

	wanted  *definition.Set // nil: none yet
	dirty   bool            // the last Set is outdated
	round   uint            // of resolve; what a round doesn't use is removed
	origins map[originKey]*origin
	trials  map[string]*dryRun       // by key
	filters map[string]*wantedFilter // by name
	lost    map[string]good          // last good versions whose module is missing, by name
	memory  memory
	// proven has the signers of modules, by content and requirement, including
	// those that other servers have verified.
	proven map[proof]string
	// accepted is what was accepted for each filter with allow: computed, by
	// name, by this or other servers. No entry: its first module has not been
	// good yet.
	accepted map[string]accepted
}

// wantedFilter is the state of a wanted filter.
type wantedFilter struct {
	current  *Filter // nil before the first Set
	good     good
	problems []definition.Problem
	waiting  bool // for something that was started after the last Set
	round    uint

	// Inputs of the verdict. As long as they are the same, so is the verdict,
	// which is the case for most filters most of the time.
	judged *definition.Filter
	tested tested
	origin *origin // nil: none is needed
	trial  *dryRun // nil: none is needed
	news   int     // number of outcomes of both
	tried  subject
	key    string // of the trial of that subject, without its tests; cached because it costs a hash

	computed   *definition.Filter // with the computed allow list; nil: none so far
	computedOf subject

	scripted scripted
}

// subject is the subject of a trial. A definition is immutable, so its pointer
// identifies its content.
type subject struct {
	definition *definition.Filter
	sha256     string
}

// settled reports whether the verdict for f would be the same again.
func (e *wantedFilter) settled(f *definition.Filter, t tested) bool {
	return e.judged == f && e.tested.same(t) && e.news == e.heard()
}

func (e *wantedFilter) heard() (news int) {
	if e.origin != nil {
		news += e.origin.news
	}
	if e.trial != nil {
		news += e.trial.news
	}
	return news
}

// good is a definition and a module that were good together. It is zero if none
// ever were.
type good struct {
	definition *definition.Filter
	module     Info
	key        string // of the trial that it passed; "": no trial was required
	accepted   accepted
}

// String describes g for messages.
func (g good) String() string {
	if g.definition.Lua != nil {
		return "the script before"
	}
	return fmt.Sprintf("%.12s", g.module.SHA256)
}

func (l *resolution) run(updates <-chan *definition.Set) {
	// Files, and dry runs of small modules, are often ready in a moment. So a
	// Set waits for what was just started, but not long.
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	settling := false
	for {
		select {
		case <-l.ctx.Done():
			return
		case set, ok := <-updates:
			if !ok {
				updates = nil
				continue
			}
			l.wanted, l.dirty = set, true
		case news := <-l.news:
			news()
			l.drain()
		case <-settled.C:
			settling = false
			for _, e := range l.filters {
				e.waiting = false
			}
		}
		if l.wanted == nil {
			continue
		}
		waiting := l.resolve()
		switch {
		case !l.dirty:
		case waiting && !settling:
			settled.Reset(l.Settle)
			settling = true
		case !waiting:
			settled.Stop()
			settling = false
			l.send()
		}
	}
}

// drain runs all other functions that were posted meanwhile.
func (l *resolution) drain() {
	for {
		select {
		case news := <-l.news:
			news()
		default:
			return
		}
	}
}

// post makes the goroutine of run call do, unless ctx ends first.
func (l *resolution) post(ctx context.Context, do func()) {
	select {
	case l.news <- do:
	case <-ctx.Done():
	}
}

// resolve updates all filters, and reports whether to wait a moment before a
// new Set is sent.
func (l *resolution) resolve() (waiting bool) {
	l.round++
	for _, f := range l.wanted.Filters {
		e := l.filters[f.Name]
		if e == nil {
			e = &wantedFilter{}
			l.filters[f.Name] = e
		}
		if t := l.testsOf(f); !e.settled(f, t) {
			l.resolveFilter(e, f, t)
		}
		e.round = l.round
		if e.origin != nil {
			e.origin.round = l.round
		}
		if e.trial != nil {
			e.trial.round = l.round
		}
		waiting = waiting || e.waiting
	}
	l.sweep()
	return waiting
}

// sweep ends what is no longer used by any filter.
func (l *resolution) sweep() {
	for name, e := range l.filters {
		if e.round != l.round {
			delete(l.filters, name)
			delete(l.lost, name)
			delete(l.accepted, name)
			l.memory.drop(name)
		}
	}
	for key, o := range l.origins {
		if o.round != l.round {
			o.stop()
			delete(l.origins, key)
		}
	}
	for key, t := range l.trials {
		if t.round != l.round {
			t.stop()
			delete(l.trials, key)
		}
	}
	l.memory.forget(l.origins)
}

func (l *resolution) resolveFilter(e *wantedFilter, f *definition.Filter, t tested) {
	loaded := e.judged != nil && e.judged != f
	anew := loaded || e.judged != nil && !e.tested.same(t)
	if !e.tested.same(t) {
		t.key = l.keyOfTests(t.tests)
		e.tested = t
	}
	if o := l.origins[keyOf(f)]; anew && o != nil && o.key.scheme() == "file" && (o.info != (Info{}) || o.text != "") {
		// The module may have been written together with the definition, so it
		// is judged after the file was checked.
		o.ask()
		e.origin, e.trial = o, nil
		e.judged, e.news = f, e.heard()
		e.waiting, l.dirty = true, true
		return
	}
	v := l.judge(e, f)
	e.judged, e.news = f, e.heard()
	if loaded && e.origin != nil && f.Module.Pull == definition.PullAlways {
		e.origin.look()
	}
	next := Filter{Definition: f, Wanted: f, State: v.state}
	switch {
	case v.state == Good:
		next.Definition, next.Module = v.definition, v.module
		if e.tested.key != "" && strings.HasSuffix(v.trial, e.tested.key) {
			next.Tests = e.tested.cases()
		}
		l.prove(v.module)
		if now := (good{v.definition, v.module, v.trial, l.accept(v.definition)}); now != e.good {
			e.good = now
			l.memory.keep(now)
		}
	case e.good.definition != nil:
		next.Definition, next.Module = e.good.definition, e.good.module
		next.Reason = fmt.Sprintf("%v; it keeps running %s", v.err, e.good)
	default:
		next.Reason = v.err.Error()
	}
	if found := v.problems(f); !slices.Equal(found, e.problems) {
		e.problems = found
		l.dirty = true
	}
	if e.current != nil && *e.current == next {
		e.waiting = false
		return
	}
	e.waiting = v.state == Fetching && (e.current == nil || e.current.State != Fetching || e.waiting)
	if v.state == Failed && (e.current == nil || e.current.Reason != next.Reason) {
		l.Logger.Warn("a filter can't be served as defined", "filter", f.Name, "reason", next.Reason)
	}
	e.current = &next
	l.dirty = true
}

// verdict is the result for a filter as it is wanted.
type verdict struct {
	definition *definition.Filter // in the form in which it can be served
	module     Info
	trial      string // key of the trial that it passed; "": no trial was required
	state      State
	err        error // why it isn't good, or a warning if it is
}

func (l *resolution) judge(e *wantedFilter, f *definition.Filter) verdict {
	e.origin, e.trial = nil, nil
	if f.Lua != nil {
		return l.judgeScript(e, f)
	}
	if f.Module.Fetch == definition.Direct && f.Module.SHA256 != "" {
		if _, err := l.requirement(keyOf(f)); err != nil {
			return verdict{state: Failed, err: err}
		}
		return verdict{definition: f, module: Info{SHA256: f.Module.SHA256}, state: Good}
	}
	o := l.origin(f)
	e.origin = o
	switch {
	case o.err != nil && !o.stale:
		return verdict{state: Failed, err: o.err}
	case o.info == Info{} && o.slow && o.err == nil:
		return verdict{state: Fetching, err: &slowError{fmt.Sprintf("%s is still being fetched after %v", o.key, l.SlowAfter), slowFetch}}
	case o.info == Info{}:
		return verdict{state: Fetching, err: fmt.Errorf("%s is being fetched", o.key)}
	}
	if err := l.fitsPlace(f, o.info.SHA256); err != nil {
		return verdict{state: Failed, err: err}
	}
	f, err := l.computed(e, f, o.info)
	switch {
	case err != nil:
		return verdict{state: Failed, err: err}
	case e.tested.none() && (f.Verify == definition.VerifyABI || l.Runner == nil):
		return verdict{definition: f, module: o.info, state: Good, err: o.err}
	}
	if about := (subject{f, o.info.SHA256}); e.tried != about {
		e.tried, e.key = about, l.keyOfTrial(f, o.info)
	}
	key := e.key + e.tested.key
	switch {
	case e.tested.hole != nil && (strings.HasPrefix(e.good.key, e.key) || e.good.definition == f && e.good.module == o.info):
		return verdict{f, o.info, e.good.key, Good, o.err} // nothing has changed
	case e.tested.hole != nil:
		return verdict{state: Failed, err: e.tested.unreadable()}
	case key == e.good.key:
		return verdict{f, o.info, key, Good, o.err}
	}
	t := l.dryRunOf(key, f, o.info, e.tested.tests)
	e.trial = t
	untested, _ := errors.AsType[*UntestedError](t.err)
	switch {
	case untested != nil: // the outcome is the same after a restart
		return verdict{f, o.info, e.key, Good, t.err}
	case t.err != nil:
		return verdict{state: Failed, err: t.err}
	case t.slow && !t.done:
		return verdict{state: Fetching, err: &slowError{fmt.Sprintf("%s is still being tried after %v", o.key, l.SlowAfter), slowTrial}}
	case !t.done:
		return verdict{state: Fetching, err: fmt.Errorf("%s is being tried", o.key)}
	}
	return verdict{f, o.info, key, Good, o.err}
}

// slowError means that a verdict takes long.
type slowError struct{ message, hint string }

func (e *slowError) Error() string { return e.message }

// What to look at then.
const (
	slowFetch = "look whether its origin answers; " + meanwhile
	slowTrial = "look whether the machine is busy, and whether the module or its tests take long; " + meanwhile + "; verify: abi skips the dry run"
	meanwhile = "the last good version stays in force, and listeners wait for a filter that has none"
)

// problems returns the problems for the author of the definition, or of its
// tests.
func (v verdict) problems(f *definition.Filter) []definition.Problem {
	slow, _ := errors.AsType[*slowError](v.err)
	if v.err == nil || v.state == Fetching && slow == nil {
		return nil
	}
	p := definition.Problem{
		File: f.Pos.File, Line: f.Pos.Line, Field: FieldOf(f),
		Message: v.err.Error(),
		Warning: v.state != Failed,
	}
	if slow != nil {
		p.Hint = slow.hint
	}
	if e, ok := errors.AsType[*ContentError](v.err); ok {
		p.Hint = e.Hint
	}
	if e, ok := errors.AsType[*UntestedError](v.err); ok {
		p = e.Problem
		p.Warning = true
	}
	if e, ok := errors.AsType[*TestError](v.err); ok {
		return e.Problems
	}
	return []definition.Problem{p}
}

// send emits the current Set.
func (l *resolution) send() {
	set := &Set{
		Filters:   make([]*Filter, 0, len(l.wanted.Filters)),
		Listeners: l.wanted.Listeners,
		Resources: l.wanted.Resources,
		Rollouts:  l.wanted.Rollouts,
		Tests:     l.wanted.Tests,
		Withheld:  l.wanted.Withheld,

		RolloutHoles: l.wanted.RolloutHoles,
	}
	for _, f := range l.wanted.Filters {
		e := l.filters[f.Name]
		set.Filters = append(set.Filters, e.current)
		set.Problems = append(set.Problems, e.problems...)
	}
	l.dirty = false
	l.emit(set)
}

// named returns the modules that must stay in the store.
func (l *resolution) named() map[string]bool {
	names := map[string]bool{}
	for _, e := range l.filters {
		names[e.good.module.SHA256] = true
		if e.current != nil {
			names[e.current.Module.SHA256] = true
		}
	}
	for _, o := range l.origins {
		names[o.info.SHA256] = true
	}
	for _, sum := range l.Needed() {
		names[sum] = true
	}
	delete(names, "")
	l.nameUsed(names)
	maps.DeleteFunc(l.proven, func(p proof, _ string) bool { return !names[p.sha256] })
	return names
}
