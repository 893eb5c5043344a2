package swap_test

import (
	"fmt"
	"slices"

	"wasmxds/definition"
	"wasmxds/resource"
)

// met is what requests to an Envoy met so far, and what they may meet from now
// on. It is told of each set that is published, and of all that a request would
// meet at any moment.
type met struct {
	published []map[string]wantedListener
	sent      int                        // the set that was the newest when nothing was under way last
	covered   map[string]int             // listener → the newest set all of whose filters were met
	ordered   map[string]int             // ... in whose order the filters were met
	routed    map[string]int             // ... whose routes were met with all of its filters
	must      map[string]map[string]bool // listener → filters that were met, and are wanted ever since
	logged    map[string]map[string]bool // ... access loggers
	logs      map[string]int             // listener → the newest set all of whose closed access loggers were met
	started   int                        // the set that was the newest when the Envoy started
}

// wantedListener is a listener in a published set.
type wantedListener struct {
	filters []string
	closed  []string // those that no request may pass without
	routes  string
	loggers []string
	audits  []string // those of them that it must not go without
}

func wantedOf(l *resource.Listener) wantedListener {
	w := wantedListener{loggers: l.Loggers}
	for _, chain := range l.Chains {
		for _, f := range chain {
			w.filters = append(w.filters, f.Filter)
		}
	}
	return w
}

func wantedIn(l *resource.Listener, filter string) bool {
	return slices.Contains(wantedOf(l).filters, filter) || slices.Contains(l.Loggers, filter)
}

func (m *met) publish(snap *resource.Snapshot) {
	set := map[string]wantedListener{}
	for _, l := range snap.Listeners {
		w := wantedOf(l)
		for _, f := range snap.Filters {
			if slices.Contains(w.filters, f.Name) && f.OnFailure != definition.Open {
				w.closed = append(w.closed, f.Name)
			}
			if slices.Contains(w.loggers, f.Name) && f.OnFailure != definition.Open {
				w.audits = append(w.audits, f.Name)
			}
		}
		w.routes = l.RoutesBase
		set[l.Name] = w
	}
	if len(m.published) == 0 {
		m.forget()
	} else {
		for listener, w := range m.published[len(m.published)-1] {
			for _, f := range w.filters {
				if !slices.Contains(set[listener].filters, f) {
					delete(m.must[listener], f)
				}
			}
			for _, f := range w.loggers {
				if !slices.Contains(set[listener].loggers, f) {
					delete(m.logged[listener], f)
				}
			}
		}
	}
	m.published = append(m.published, set)
}

// forget is that the Envoy starts anew.
func (m *met) forget() {
	m.covered, m.ordered, m.routed = map[string]int{}, map[string]int{}, map[string]int{}
	m.must, m.logged, m.logs = map[string]map[string]bool{}, map[string]map[string]bool{}, map[string]int{}
	m.started = max(0, len(m.published)-1)
}

// log tells what is wrong with the access loggers that a request would meet.
func (m *met) log(listener string, loggers []modelLogger) string {
	has := func(name string) bool {
		return slices.ContainsFunc(loggers, func(l modelLogger) bool { return l.name == name })
	}
	if m.logged[listener] == nil {
		m.logged[listener] = map[string]bool{}
	}
	for f := range m.logged[listener] {
		if !has(f) {
			return fmt.Sprintf("the access logger %s has left, and is wanted all the time", f)
		}
	}
	for _, l := range loggers {
		lacks := func(set map[string]wantedListener) bool { return !slices.Contains(set[listener].loggers, l.name) }
		if !slices.ContainsFunc(m.published[m.sent:], lacks) {
			m.logged[listener][l.name] = true
		}
	}
	m.logs[listener] = max(m.logs[listener], m.started)
	if !m.since(m.logs, listener, func(w wantedListener) bool {
		return !slices.ContainsFunc(w.audits, func(f string) bool { return !has(f) })
	}) {
		return fmt.Sprintf("%v are not all closed access loggers of any set", loggers)
	}
	return ""
}

// calm is that no response is under way, and no listener waits to be in service.
func (m *met) calm() { m.sent = len(m.published) - 1 }

// request tells what is wrong with what a request would meet.
func (m *met) request(listener string, filters []string, routes string) string {
	routes, _ = resource.CutMentions(routes)
	if m.must[listener] == nil {
		m.must[listener] = map[string]bool{}
	}
	for f := range m.must[listener] {
		if !slices.Contains(filters, f) {
			return fmt.Sprintf("filter %s has left %q, and is wanted all the time", f, filters)
		}
	}
	for _, f := range filters {
		lacks := func(set map[string]wantedListener) bool { return !slices.Contains(set[listener].filters, f) }
		if !slices.ContainsFunc(m.published[m.sent:], lacks) { // else a response may be under way to take it out
			m.must[listener][f] = true
		}
	}
	covers := func(w wantedListener) bool {
		return !slices.ContainsFunc(w.closed, func(f string) bool { return !slices.Contains(filters, f) })
	}
	switch {
	case !m.since(m.covered, listener, covers):
		return fmt.Sprintf("%q are not all filters of any set", filters)
	case !m.since(m.ordered, listener, func(w wantedListener) bool { return inOrderOf(filters, w.filters) }):
		return fmt.Sprintf("%q are in the order of no set", filters)
	case !m.since(m.routed, listener, func(w wantedListener) bool { return covers(w) && w.routes == routes }):
		return fmt.Sprintf("the routes were never published with no more than %q", filters)
	}
	return ""
}

// since tells whether what is met is as some set has it, none older than what was
// met before, or than what a response may lead back to that is under way.
func (m *met) since(newest map[string]int, listener string, is func(wantedListener) bool) bool {
	for i := len(m.published) - 1; i >= newest[listener]; i-- {
		if w, ok := m.published[i][listener]; ok && is(w) {
			newest[listener] = max(newest[listener], min(i, m.sent))
			return true
		}
	}
	return false
}

// inOrderOf tells whether filters, some of which may be there twice, are in the
// order of those that are wanted.
func inOrderOf(filters, wanted []string) bool {
	rest := filters
	for _, w := range wanted {
		if !slices.Contains(filters, w) {
			continue
		}
		i := slices.Index(rest, w)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
	}
	return true
}
