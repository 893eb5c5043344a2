package swap

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// State says how a filter fares on an Envoy.
type State string

const (
	Running  State = "running"  // what is wanted runs
	Fetching State = "fetching" // Envoy has been told to fetch it
	Failed   State = "failed"   // Envoy can't have it or refused it
	Waiting  State = "waiting"  // its turn has not come
	Unasked  State = "unasked"  // nothing of this Envoy asks for it: it is not wanted there
	Unplaced State = "ready"    // Envoy has it, and it is to be in no listener
	Away     State = "away"     // not known: the Envoy is not connected; no Machine says so
)

// FilterStatus is a filter on an Envoy.
type FilterStatus struct {
	Name    string    `json:"name"`
	Wanted  string    `json:"wanted"`  // version
	Running string    `json:"running"` // version; "": none
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // in words, where State is not Running
	Since   time.Time `json:"since,omitzero"`   // when Running began to run; zero: not known
	// WantedSince is since when Wanted is to run, where State is not Running; zero: not known.
	WantedSince time.Time `json:"wantedSince,omitzero"`
	Refused     bool      `json:"refused,omitempty"` // failed, as Envoy has it and refuses it

	Crashes *Crashes `json:"crashes,omitempty"` // nil: there were none

	// Draining, on a filter that runs, is that older connections go without it.
	Draining *Draining `json:"draining,omitempty"`
}

// Draining is that a listener was replaced and connections that were opened
// before go on with the old one, until Envoy has drained it.
type Draining struct {
	Since time.Time `json:"since,omitzero"` // connections opened before go on as it was; zero: not known
	Until time.Time `json:"until,omitzero"` // when Envoy closes them at the latest; zero: not known
}

// ListenerStatus is a listener on an Envoy.
type ListenerStatus struct {
	Name    string `json:"name"`
	Wanted  string `json:"wanted"`           // version
	Running string `json:"running"`          // version; "": withheld
	Reason  string `json:"reason,omitempty"` // why Wanted does not run

	Draining *Draining `json:"draining,omitempty"` // nil: no connection has an older version
}

// Filters tells how each filter of the snapshot fares.
func (m *Machine) Filters(now time.Time) []FilterStatus {
	out := make([]FilterStatus, 0, len(m.snap.Filters))
	for _, f := range m.snap.Filters {
		st := FilterStatus{Name: f.Name, Wanted: f.Version}
		st.Running = m.runs(m.subs[Extension].have, f.Name)
		for _, s := range m.stamps {
			if s.name == f.Name && st.Running != "" {
				st.Since = m.began.Add(s.at)
			}
		}
		st.State, st.Reason = m.stateOf(f, st.Running, now)
		st.Crashes = m.crashesOf(f)
		switch st.State {
		case Running:
			st.Draining = m.goWithout(f.Name, now)
		case Failed, Fetching, Waiting:
			if p := m.priming(f.Name); p != nil {
				st.WantedSince, st.Refused = p.Since, st.State == Failed && p.refused() && (p.here || f.Lua)
			}
		}
		out = append(out, st)
	}
	return out
}

// runs gives the version that a filter runs in, of several the one that is not
// the newest; "": it doesn't.
func (v *state) runs(in *acked, filter string) string {
	f, version := v.filter(filter), ""
	take := func(found string) {
		if version == "" || f != nil && version == f.Version {
			version = found
		}
	}
	if have, ok := in.Find(filter); ok && !(f != nil && f.Noop() != nil && have.Version == f.Noop().Version) {
		take(have.Version)
	}
	if f != nil && v.snap.IsLogger(filter) {
		return v.loggerRuns(v.subs[Listener].have, f)
	}
	for _, slot := range v.placements().holders[filter] {
		if have, ok := in.Find(slot); ok && v.holds(have) == filter {
			base, _ := resource.CutVersion(have.Version)
			take(base)
		}
	}
	return version
}

// everywhere tells whether a filter is in each listener that is to have it. Of a
// listener that the Envoy has not, its own status tells.
func (v *state) everywhere(filter string) bool {
	rs := v.placements()
	for name, r := range rs.byListener {
		have, had := v.subs[Listener].have.Find(name)
		switch {
		case r.kept && slices.Contains(r.lacking, filter),
			!r.kept && had && r.wants(filter) && !rs.held[layoutKey{name, resource.IDOf(have.Version)}][filter],
			had && !v.logsIn(r.listener, have, filter):
			return false
		}
	}
	return !slices.ContainsFunc(rs.holders[filter], func(slot string) bool {
		have, ok := v.subs[Extension].have.Find(slot)
		return !ok || v.holds(have) != filter
	})
}

func (m *Machine) stateOf(f *resource.Filter, running string, now time.Time) (State, string) {
	if running == f.Version && running != "" && f.Missing == "" && m.everywhere(f.Name) {
		if why := m.isDown(f); why != "" {
			return Waiting, why
		}
		if m.inNone(f) {
			return Unplaced, "ready, in no listener"
		}
		return Running, ""
	}
	switch {
	case m.inNone(f) && m.primed(f):
		return Unplaced, "ready, in no listener"
	case m.unasked(f, now):
		return Unasked, "not asked for: no listener of this Envoy has a slot of this name"
	case m.mute():
		return Waiting, "Envoy has asked for neither listeners nor filters yet"
	case f.Coming:
		return Waiting, f.Missing
	case f.Missing != "":
		return Failed, f.Missing
	}
	p := m.priming(f.Name)
	goes := ""
	if running != "" && running != f.Version {
		goes = "; it keeps running " + running
	}
	switch {
	case p == nil && m.snap.IsLogger(f.Name):
		return Waiting, "it is ready in this Envoy, and its listeners are to be replaced" + goes
	case p == nil && (m.wants(Extension, f.Name) || len(m.placements().holders[f.Name]) > 0):
		return Waiting, "it is ready in this Envoy, and is being put in place" + goes
	case p == nil:
		return Waiting, "it is ready in this Envoy, in no listener"
	case f.Lua && p.refused():
		return Failed, fmt.Sprintf("Envoy rejects the script: %s%s", p.Message, goes)
	case f.Lua && p.nacks == 0 && p.alone:
		return Waiting, "Envoy rejected it together with others, and gets each of them again by itself" + goes
	case p.Phase == Queued:
		return Waiting, "it has not been sent yet" + goes
	case p.refused() && p.here:
		return Failed, fmt.Sprintf("Envoy rejects the module: %s%s", p.Message, goes)
	case p.refused():
		return Failed, fmt.Sprintf("Envoy can't download the module %s (no download has completed): %s%s", short(f.SHA256), p.Message, goes)
	case p.Phase == Downloading:
		return Fetching, fmt.Sprintf("Envoy downloads the module %s%s", short(f.SHA256), goes)
	case p.nacks == 0:
		return Fetching, "it was sent, and Envoy has not answered yet" + goes
	}
	return Fetching, fmt.Sprintf("Envoy fetches the module %s%s", short(f.SHA256), goes)
}

// Refuses tells whether a NACK of a filter with this message was more than a sign
// that Envoy fetches the module.
func (m *Machine) Refuses(message string) bool {
	return slices.ContainsFunc(m.primings, func(p Priming) bool { return p.Message == message && p.refused() })
}

// silence is how long an Envoy may take to ask for listeners or filters. It does
// so when its clusters are ready; until then what it will ask for is not known.
const silence = time.Minute

// mute tells whether the Envoy has not said what it needs filters for.
func (v *state) mute() bool {
	return !v.subs[Listener].subscribed && !v.subs[Extension].subscribed
}

// unasked tells whether the Envoy has no use for a filter. Listeners of its own
// ask for their filters all together; those from here ask for what they have
// slots for, and a filter in none of them is primed all the same.
func (m *Machine) unasked(f *resource.Filter, now time.Time) bool {
	switch {
	case m.wants(Extension, f.Name):
		return false
	case m.mute():
		return !now.Before(m.began.Add(silence))
	case m.subs[Listener].subscribed:
		return false // what is in no listener is primed all the same
	}
	return true
}

// inNone tells whether an Envoy that has its listeners from here has no use for a
// filter: none of them is to have it, and it asks for it by no name of its own.
func (v *state) inNone(f *resource.Filter) bool {
	return v.subs[Listener].subscribed && !v.wants(Extension, f.Name) && !slices.ContainsFunc(v.snap.Listeners, func(l *resource.Listener) bool {
		return slices.Contains(l.Slots, f.Name) || slices.Contains(l.Filters, f.Name) || slices.Contains(l.Loggers, f.Name)
	})
}

func short(sha256 string) string {
	if len(sha256) > 12 {
		return sha256[:12]
	}
	return sha256
}

// Listeners tells how each listener of the snapshot fares that Envoy asks for.
func (m *Machine) Listeners(now time.Time) []ListenerStatus {
	if !m.subs[Listener].subscribed {
		return nil
	}
	out := make([]ListenerStatus, 0, len(m.snap.Listeners))
	for _, l := range m.snap.Listeners {
		if !m.wants(Listener, l.Name) {
			continue
		}
		st := ListenerStatus{Name: l.Name, Wanted: m.wanted(l).Version, Draining: m.draining(l.Name, now)}
		if have, ok := m.subs[Listener].have.Find(l.Name); ok {
			st.Running = have.Version
		}
		if st.Running != st.Wanted || m.lacks(l) {
			st.Reason = m.whyNot(l)
		}
		out = append(out, st)
	}
	return out
}

// lacks tells whether a listener that the Envoy has goes without a filter that it
// must not go without for good.
func (v *state) lacks(l *resource.Listener) bool {
	r := v.placements().byListener[l.Name]
	return r.kept && slices.ContainsFunc(slices.Concat(r.lacking, r.unlogged), func(name string) bool {
		f := v.filter(name)
		return f == nil || f.OnFailure != definition.Open
	})
}

func (m *Machine) whyNot(l *resource.Listener) string {
	if r := m.refusal(Listener, l.Name); r != nil {
		return "Envoy rejected it: " + r.message
	}
	for _, name := range slices.Concat(l.Filters, l.Loggers, l.Slots) {
		if f := m.filter(name); f != nil && !m.primed(f) {
			if slices.Contains(l.Loggers, name) {
				return fmt.Sprintf("waiting for its access logger %s", name)
			}
			return fmt.Sprintf("waiting for its filter %s", name)
		}
	}
	return "it is on its way"
}
