package swap

import (
	"fmt"
	"time"

	"wasmxds/resource"
)

// State says how a filter fares on an Envoy.
type State string

const (
	Running  State = "running"  // what is wanted runs
	Fetching State = "fetching" // Envoy has been told to fetch it
	Failed   State = "failed"   // Envoy can't have it or refused it
	Waiting  State = "waiting"  // its turn has not come
)

// FilterStatus is a filter on an Envoy.
type FilterStatus struct {
	Name    string
	Wanted  string // version
	Running string // version; "": none
	State   State
	Reason  string    // in words, where State is not Running
	Since   time.Time // when Running began to run; zero: not known
}

// ListenerStatus is a listener on an Envoy.
type ListenerStatus struct {
	Name    string
	Wanted  string
	Running string // version; "": withheld
	Reason  string
}

// Filters tells how each filter of the snapshot fares.
func (m *Machine) Filters() []FilterStatus {
	out := make([]FilterStatus, 0, len(m.snap.Filters))
	for _, f := range m.snap.Filters {
		st := FilterStatus{Name: f.Name, Wanted: f.Version}
		st.Running = m.subs[Extension].have.runs(f)
		for _, s := range m.stamps {
			if s.name == f.Name && st.Running != "" {
				st.Since = s.at
			}
		}
		st.State, st.Reason = m.state(f, st.Running)
		out = append(out, st)
	}
	return out
}

// Runs is what this Envoy has of extension configurations; compare it with
// Swapped.
func (m *Machine) Runs() *View { return m.subs[Extension].have }

// Swapped calls f for each filter that ran in before and runs in another
// version now.
func (m *Machine) Swapped(before *View, f func(filter, from, to string)) {
	now := m.subs[Extension].have
	if before == now {
		return
	}
	for _, wanted := range m.snap.Filters {
		from, to := before.runs(wanted), now.runs(wanted)
		if from != "" && to != "" && from != to {
			f(wanted.Name, from, to)
		}
	}
}

// runs gives the version that the filter runs in; "": it doesn't.
func (v *View) runs(f *resource.Filter) string {
	have, ok := v.find(f.Name)
	if !ok || f.Pass() != nil && have.version == f.Pass().Version {
		return ""
	}
	return have.version
}

func (m *Machine) state(f *resource.Filter, running string) (State, string) {
	if running == f.Version && running != "" && f.Missing == "" {
		return Running, ""
	}
	switch {
	case f.Coming:
		return Waiting, f.Missing
	case f.Missing != "":
		return Failed, f.Missing
	}
	tr := m.try(Extension, f.Name)
	goes := ""
	if running != "" {
		goes = "; it goes on with " + running
	}
	switch {
	case tr == nil && m.wants(Extension, f.Name):
		return Waiting, "it is ready in this Envoy and is put in place" + goes
	case tr == nil:
		return Waiting, "it is ready in this Envoy, no listener asks for it yet"
	case !tr.pushed:
		return Waiting, "its turn to be sent has not come" + goes
	case tr.refused && tr.here:
		return Failed, fmt.Sprintf("Envoy has the module and refuses it: %s%s", tr.message, goes)
	case tr.refused:
		return Failed, fmt.Sprintf("Envoy does not get the module %s (no download ended): %s%s", short(f.SHA256), tr.message, goes)
	case tr.open:
		return Fetching, fmt.Sprintf("Envoy downloads the module %s%s", short(f.SHA256), goes)
	case tr.nacks == 0:
		return Fetching, "it was sent to Envoy, which has not answered" + goes
	}
	return Fetching, fmt.Sprintf("Envoy fetches the module %s%s", short(f.SHA256), goes)
}

func short(sha256 string) string {
	if len(sha256) > 12 {
		return sha256[:12]
	}
	return sha256
}

// Listeners tells how each listener of the snapshot fares.
func (m *Machine) Listeners() []ListenerStatus {
	if !m.subs[Listener].subscribed {
		return nil
	}
	out := make([]ListenerStatus, 0, len(m.snap.Listeners))
	for _, l := range m.snap.Listeners {
		st := ListenerStatus{Name: l.Name, Wanted: base(l.Version)}
		if have, ok := m.subs[Listener].have.find(l.Name); ok {
			st.Running = have.version
		}
		if st.Running != st.Wanted {
			st.Reason = m.whyNot(l)
		}
		out = append(out, st)
	}
	return out
}

func (m *Machine) whyNot(l *resource.Listener) string {
	if tr := m.try(Listener, l.Name); tr != nil {
		return "Envoy refused it: " + tr.message
	}
	for _, name := range l.Slots {
		if f := m.filter(name); f != nil && !m.primed(f) {
			return fmt.Sprintf("it waits for its filter %s", name)
		}
	}
	return "it is on its way"
}
