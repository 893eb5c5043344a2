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

// resolution is one Run of a Resolver. Its fields are owned by the goroutine of
// run; others post functions to it.
type resolution struct {
	*Resolver
	ctx     context.Context
	group   *errgroup.Group
	watcher *fileWatcher
	news    chan func()
	emit    func(*Set)

	wanted  *definition.Set // nil: none yet
	dirty   bool            // the Set that went out is no longer right
	round   uint            // of resolve; what a round doesn't use is dropped
	origins map[originKey]*origin
	trials  map[string]*dryRun       // by key
	filters map[string]*wantedFilter // by name
	lost    map[string]good          // what was good last of those whose module is not there, by name
	memory  memory
	// proven is who has signed a module, by its content and what was demanded: also what
	// other servers have found.
	proven map[proof]string
	// accepted is of each filter with allow: computed, by name; others may have
	// accepted it. None: its first module has not been good yet.
	accepted map[string]accepted
}

// wantedFilter is a filter of the wanted set.
type wantedFilter struct {
	current  *Filter // nil before the first Set
	good     good
	problems []definition.Problem
	waiting  bool // for something that began to be on the way since the last Set
	round    uint

	// What the verdict was made from. While nothing of it changes, neither
	// does the verdict: most filters, most of the time.
	judged *definition.Filter
	tested tested
	origin *origin // nil: none is needed
	trial  *dryRun // nil: none is needed
	news   int     // of both
	tried  subject
	key    string // of the trial of that subject, without its tests; making it costs a hash

	computed   *definition.Filter // with what its module wants as its list; nil: none was made
	computedOf subject

	scripted scripted
}

// subject is what a trial is about. A definition is immutable, so its pointer
// stands for all that it says.
type subject struct {
	definition *definition.Filter
	sha256     string
}

// settled says whether a verdict for f would be the same again.
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

// good is a definition and a module that could be served together; zero where
// none ever could.
type good struct {
	definition *definition.Filter
	module     Info
	key        string // of the trial that it passed; "": none was asked for
	accepted   accepted
}

// String names it to people.
func (g good) String() string {
	if g.definition.Lua != nil {
		return "the script before"
	}
	return fmt.Sprintf("%.12s", g.module.SHA256)
}

func (l *resolution) run(updates <-chan *definition.Set) {
	// What just began to be on the way is often there in a moment: files, and
	// dry runs of small modules. So a Set waits for that, but not for long.
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

// drain takes what else was posted meanwhile.
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

// post has do called by the goroutine of run, unless ctx ends before.
func (l *resolution) post(ctx context.Context, do func()) {
	select {
	case l.news <- do:
	case <-ctx.Done():
	}
}

// resolve brings all filters up to date with what is known now, and says
// whether to wait a moment before that goes out.
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

// sweep ends what only filters needed that are gone, or are wanted otherwise.
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
		// The module may have been written with the definition: it is judged
		// when that was looked at.
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

// verdict is what is known of a filter as it is wanted.
type verdict struct {
	definition *definition.Filter // as it can be served
	module     Info
	trial      string // key of the trial that it passed; "": none was asked for
	state      State
	err        error // why it isn't good, or what to worry about though it is
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
		return verdict{f, o.info, e.good.key, Good, o.err} // nothing of it is new
	case e.tested.hole != nil:
		return verdict{state: Failed, err: e.tested.unreadable()}
	case key == e.good.key:
		return verdict{f, o.info, key, Good, o.err}
	}
	t := l.dryRunOf(key, f, o.info, e.tested.tests)
	e.trial = t
	untested, _ := errors.AsType[*UntestedError](t.err)
	switch {
	case untested != nil: // the same is told after a restart
		return verdict{f, o.info, e.key, Good, t.err}
	case t.err != nil:
		return verdict{state: Failed, err: t.err}
	case !t.done:
		return verdict{state: Fetching, err: fmt.Errorf("%s is being tried", o.key)}
	}
	return verdict{f, o.info, key, Good, o.err}
}

// problems are for the person who wrote the definition, or its tests.
func (v verdict) problems(f *definition.Filter) []definition.Problem {
	if v.err == nil || v.state == Fetching {
		return nil
	}
	p := definition.Problem{
		File: f.Pos.File, Line: f.Pos.Line, Field: FieldOf(f),
		Message: v.err.Error(),
		Warning: v.state == Good,
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

// send emits the Set as it is now.
func (l *resolution) send() {
	set := &Set{
		Filters:   make([]*Filter, 0, len(l.wanted.Filters)),
		Listeners: l.wanted.Listeners,
		Resources: l.wanted.Resources,
		Rollouts:  l.wanted.Rollouts,
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

// named gives what must stay in the store.
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
	for _, sum := range slices.Concat(l.Needed(), l.Used()) {
		names[sum] = true
	}
	delete(names, "")
	maps.DeleteFunc(l.proven, func(p proof, _ string) bool { return !names[p.sha256] })
	return names
}
