package swap

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// State is the state of a filter on an Envoy.
type State string

const (
	Running  State = "running"  // the current version runs
	Fetching State = "fetching" // Envoy fetches the module
	Failed   State = "failed"   // Envoy can't get it or has rejected it
	Waiting  State = "waiting"  // it is not its turn yet
	Unasked  State = "unasked"  // nothing on this Envoy subscribes to it: it is not wanted there
	Unplaced State = "ready"    // Envoy has it, and it should be in no listener
	Away     State = "away"     // unknown, because the Envoy is not connected; no Machine returns this
)

// FilterStatus describes a filter on an Envoy.
type FilterStatus struct {
	Name    string    `json:"name"`
	Wanted  string    `json:"wanted"`  // version
	Running string    `json:"running"` // version; "": none
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // for people, unless State is Running
	Since   time.Time `json:"since,omitzero"`   // since when Running runs; zero: unknown
	// WantedSince is since when Wanted should run, unless State is Running; zero: unknown.
	WantedSince time.Time `json:"wantedSince,omitzero"`
	Refused     bool      `json:"refused,omitempty"` // failed because Envoy has it and rejects it

	Crashes *Crashes `json:"crashes,omitempty"` // nil: there were none

	// Draining means, for a running filter, that older connections do without it.
	Draining *Draining `json:"draining,omitempty"`
}

// Draining means that a listener was replaced and that connections that were opened before
// continue with the old one, until Envoy has drained it.
type Draining struct {
	Since time.Time `json:"since,omitzero"` // connections opened before continue with the old one; zero: unknown
	Until time.Time `json:"until,omitzero"` // when Envoy closes them at the latest; zero: unknown
}

// ListenerStatus describes a listener on an Envoy.
type ListenerStatus struct {
	Name    string `json:"name"`
	Wanted  string `json:"wanted"`           // version
	Running string `json:"running"`          // version; "": withheld
	Reason  string `json:"reason,omitempty"` // why Wanted does not run

	Draining *Draining `json:"draining,omitempty"` // nil: no connection uses an older version
}

// Filters returns the status of each filter of the snapshot.
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

// runs returns the running version of a filter; if there are several, one that is not the
// newest; "": it does not run.
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

// everywhere reports whether a filter is in each listener that should have it. Listeners
// that the Envoy does not have yet are ignored, because they have a status of their own.
func (v *state) everywhere(filter string) bool {
	rs := v.placements()
	for name, r := range rs.byListener {
		if have, had := v.subs[Listener].have.Find(name); had && v.lacksIn(r, have, filter) {
			return false
		}
	}
	return !slices.ContainsFunc(rs.holders[filter], func(slot string) bool {
		have, ok := v.subs[Extension].have.Find(slot)
		return !ok || v.holds(have) != filter
	})
}

// lacksIn reports whether a listener that the Envoy has, in whatever version, lacks a filter
// that it should have.
func (v *state) lacksIn(r *placement, have item, filter string) bool {
	if r.kept {
		return slices.Contains(r.lacking, filter) || !v.logsIn(r.listener, have, filter)
	}
	held := v.placements().held[layoutKey{have.Name, resource.IDOf(have.Version)}]
	return r.wants(filter) && !held[filter] || !v.logsIn(r.listener, have, filter)
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

// Refuses reports whether a NACK of a filter with this message means more than that Envoy
// fetches the module.
func (m *Machine) Refuses(message string) bool {
	return slices.ContainsFunc(m.primings, func(p Priming) bool { return p.Message == message && p.refused() })
}

// silence is how long an Envoy may take to subscribe to listeners or filters. It does so
// when its clusters are ready; until then its subscriptions are unknown.
const silence = time.Minute

// mute reports whether the Envoy has subscribed to neither listeners nor filters.
func (v *state) mute() bool {
	return !v.subs[Listener].subscribed && !v.subs[Extension].subscribed
}

// unasked reports whether the Envoy has no use for a filter. Listeners of its own subscribe
// to all their filters together. Listeners from this server subscribe to what they have
// slots for, and a filter in none of them is primed nevertheless.
func (m *Machine) unasked(f *resource.Filter, now time.Time) bool {
	switch {
	case m.wants(Extension, f.Name):
		return false
	case m.mute():
		return !now.Before(m.began.Add(silence))
	case m.subs[Listener].subscribed:
		return false // filters in no listener are primed as well
	}
	return true
}

// inNone reports whether an Envoy with listeners from this server has no use for a filter:
// none of them should have it, and the Envoy does not subscribe to it by name.
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

// Listeners returns the status of each listener of the snapshot that Envoy subscribes to.
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

// lacks reports whether a listener of the Envoy lacks a filter that must not be missing
// permanently.
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
