package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// action is a response that may be sent now, with its purpose if sending it has
// consequences that depend on that.
type action struct {
	*Response
	purpose purpose
}

// purpose is what a response is for.
type purpose uint8

const (
	update  purpose = iota // the Envoy gets what it subscribes to
	fill                   // serving slots get primed contents
	prime                  // twins get what must be primed
	replace                // serving slots get what they have, for a new VM
	heal                   // twins get contents that Envoy accepts at once, in place of rejected ones
	restore                // an extension gets its former content, in place of a rejected one
)

// plan returns the next response of a type, if any. It only reads, so it can be called at
// any time, and each type is planned after those before it were sent in the same step.
func plan(v *state, t Type, now time.Time) (action, bool) {
	s := &v.subs[t]
	if !s.subscribed || s.flight != nil { // invariant 4
		return action{}, false
	}
	if v.complete(t) && !(t == Cluster && v.moduleServerDue()) && !(t == Listener && len(v.taken) > 0) {
		return action{}, false
	}
	var a action
	switch t {
	case Cluster:
		a.Response = v.nextClusters(now)
	case Listener:
		a.Response = v.nextListeners(now)
	case Extension:
		a = v.nextExtensions(now)
	default:
		a.Response = v.nextNamed(t, now)
	}
	return a, a.Response != nil
}

// nextClusters sends new and changed clusters at once. It drops clusters only when no
// listener can name them any more (invariant 6).
func (v *state) nextClusters(now time.Time) *Response {
	s := &v.subs[Cluster]
	var changed []item
	for _, c := range v.snap.Clusters {
		it := intern.PlainItem(c)
		if v.clusterDue(it, now) {
			changed = append(changed, it)
		}
	}
	var gone []string
	if !v.namingUnknown(now) && v.listenersSettled(now) && v.allRoutesSettled() {
		gone = v.obsolete(Cluster)
	} else if !v.delta && len(changed) > 0 {
		// A whole-state response can't contain unknown bytes.
		gone = missingBytes(s.have.Items, changed)
	}
	if it, ok := v.otherModuleServer(); ok && len(changed)+len(gone) > 0 && !slices.ContainsFunc(changed, it.Is) {
		changed = append(changed, it)
		slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.Name, b.Name) })
		gone = slices.DeleteFunc(gone, func(name string) bool { return name == it.Name })
	}
	return v.respond(Cluster, changed, gone)
}

// namingUnknown reports whether the Envoy reconnected with resources and has not yet listed
// its listeners and route configurations, which may name any cluster: its next requests
// list them, as long as it may still make any.
func (v *state) namingUnknown(now time.Time) bool {
	switch {
	case !v.known || !now.Before(v.began.Add(silence)):
		return false
	case !v.subs[Listener].subscribed:
		return true
	}
	return !v.subs[Route].subscribed && slices.ContainsFunc(v.subs[Listener].have.Items, func(l item) bool {
		r := v.placements().byListener[l.Name]
		return r != nil && len(r.routes) > 0
	})
}

// clusterDue reports whether a cluster of the snapshot must be sent.
func (v *state) clusterDue(it item, now time.Time) bool {
	have, ok := v.subs[Cluster].have.Find(it.Name)
	if ok && (have.Is(it) || it.Name == v.snap.ModuleServer && !v.moduleServerDue()) {
		return false
	}
	return v.wants(Cluster, it.Name) && !v.held(Cluster, it, now)
}

// otherModuleServer returns the module server's cluster if the Envoy has that of another
// replica. It is not sent by itself, because nothing that the Envoy runs depends on it: it
// is sent with other clusters, or before a module.
func (v *state) otherModuleServer() (item, bool) {
	if v.snap.ModuleServer == "" {
		return item{}, false
	}
	want, ok := v.lookup(Cluster, v.snap.ModuleServer)
	have, had := v.subs[Cluster].have.Find(want.Name)
	return want, ok && had && !have.Is(want)
}

// moduleServerDue reports whether the module server's cluster must be sent to an Envoy that
// has another's.
func (v *state) moduleServerDue() bool {
	return v.standing().elsewhere.get(func() bool {
		_, other := v.otherModuleServer()
		return other
	}) && v.fetches()
}

// fetches reports whether the Envoy may be about to fetch from the module server.
func (v *state) fetches() bool {
	if !v.subs[Extension].subscribed {
		return false // its next request lists what it has
	}
	if len(v.poisoned) > 0 || slices.ContainsFunc(v.refusals, func(r refusal) bool { return r.typ == Listener }) {
		return true
	}
	fetched := func(f *resource.Filter) bool { return f.Missing == "" && !f.Direct && !v.cached(f) }
	return slices.ContainsFunc(v.unprimed(), fetched) || slices.ContainsFunc(v.standbysToPrime(), fetched)
}

// obsolete returns the names that Envoy has and the snapshot does not.
func (v *state) obsolete(t Type) []string {
	var gone []string
	for _, it := range v.subs[t].have.Items {
		if _, ok := v.lookup(t, it.Name); !ok {
			gone = append(gone, it.Name)
		}
	}
	return gone
}

func missingBytes(have, changed []item) []string {
	var gone []string
	for _, it := range have {
		if it.Res == nil && !slices.ContainsFunc(changed, func(c item) bool { return c.Name == it.Name }) {
			gone = append(gone, it.Name)
		}
	}
	return gone
}

// respond returns the response, or nil if there is nothing to send. A fresh Envoy gets an
// empty one, because it waits for an answer.
func (v *state) respond(t Type, changed []item, gone []string) *Response {
	s := &v.subs[t]
	if len(changed) == 0 && len(gone) == 0 && !(t.WholeState() && s.nonce == 0 && len(s.have.Items) == 0 && len(v.primings)+len(v.refusals) == 0) {
		return nil
	}
	return v.interner.Step(s.have, t, v.delta, changed, gone)
}

// nextNamed answers subscriptions to endpoints, secrets and routes.
func (v *state) nextNamed(t Type, now time.Time) *Response {
	s := &v.subs[t]
	var changed []item
	add := func(it item) {
		if have, ok := s.have.Find(it.Name); ok && have.Is(it) || v.held(t, it, now) {
			return
		}
		if t == Route && !v.routeOpens(it.Name, now) {
			if it, ok := v.shutting(it.Name); ok && !v.held(t, it, now) {
				changed = append(changed, it)
			}
			return
		}
		changed = append(changed, it)
	}
	if s.names != nil {
		for _, n := range s.names.Sorted {
			if it, ok := v.lookup(t, n); ok {
				add(it)
			}
		}
	}
	if s.wildcard {
		for _, r := range v.all(t) {
			if s.names == nil || !slices.Contains(s.names.Sorted, r.Name) {
				add(intern.PlainItem(r))
			}
		}
		slices.SortFunc(changed, func(a, b item) int { return strings.Compare(a.Name, b.Name) })
	}
	if len(changed) == 0 {
		return nil
	}
	return v.interner.Step(s.have, t, v.delta, changed, nil)
}

// clustersSettled reports whether all available clusters are in place, so that listeners
// and filters may name them.
func (v *state) clustersSettled(now time.Time) bool {
	s := &v.subs[Cluster]
	if !s.subscribed {
		return true
	}
	if s.flight != nil {
		return false
	}
	if v.complete(Cluster) && !v.moduleServerDue() {
		return true
	}
	for _, c := range v.snap.Clusters {
		if v.clusterDue(intern.PlainItem(c), now) {
			return false
		}
	}
	return true
}
