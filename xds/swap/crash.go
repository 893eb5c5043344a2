package swap

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/resource"
)

// A Wasm VM that traps never recovers: with fail closed, its worker thread answers 503 from
// then on; with fail open, requests pass without the filter. Envoy creates another VM for
// that worker, and keeps those of other workers, if the slot gets the same content in other
// bytes: what the twin has ACKed, with another attempt. The twin itself serves nobody;
// pushing it replaces nothing.

// Times for handling crashes.
const (
	// shortEcho is the shortest time after a VM was replaced during which an alarm may
	// still be from the old one: Envoy reports requests with a delay of a tenth of a
	// second.
	shortEcho = 250 * time.Millisecond
	longEcho  = 2 * time.Second
	// steady is how long a VM must last for the next one to be created at once.
	steady = 10 * time.Second
	// firstPause and maxPause limit the pauses before others. Each pause is twice the one
	// before, similar to onFailure: reload.
	firstPause = 250 * time.Millisecond
	maxPause   = 5 * time.Second
	// crashLimit crashes within crashWindow are too many.
	crashLimit  = 3
	crashWindow = time.Minute
)

// Crash reports that a VM has crashed on this Envoy, according to its access log. It comes
// for each request that met the crashed VM.
type Crash struct {
	// Filter is the filter's name, or that of a slot that holds it; anything else means
	// that the filter is unknown.
	Filter string
}

// crash is the state of a filter whose VM has crashed, or that may have shared such a VM.
type crash struct {
	filter, version string
	count           int
	last            [crashLimit]time.Time // newest first
	replaced        time.Time             // when the VM of a crash of its own was replaced

	down    bool          // other bytes must be pushed, or are in flight
	own     bool          // because of a crash of its own
	unsure  bool          // the alarm named no filter, and there are others
	again   bool          // an alarm came while they were in flight
	attempt int           // of the other bytes
	due     time.Time     // earliest time of the push
	pause   time.Duration // pause before due
	until   time.Time     // until then, alarms may be from the old VM
}

func (e Crash) apply(m *Machine, now time.Time) {
	if !m.subs[Extension].subscribed {
		m.alarms = putOff(m.alarms, e)
		return
	}
	f, sure := m.crashedFilter(e.Filter)
	if !sure && m.untold() {
		m.alarms = putOff(m.alarms, e) // it may be of a VM that is not known
	}
	if f == nil {
		return
	}
	c, before := m.crashOf(f), m.echoes(f)
	c.unsure = c.unsure && !sure
	switch {
	case c.down && m.replacedBy(m.subs[Extension].flight, c):
		c.again = true
	case c.down: // but filters that share its VM may have been added
		m.reviveOthers(c.due, sharing(f))
	case now.Before(before):
		m.revive(f, false, before)
	default:
		c.crashed(m.timing(now))
		c.unsure = !sure && len(m.serving()) > 1
		m.ready.Changes = append(m.ready.Changes, Change{Filter: f.Name, From: f.Version, To: f.Version, Stage: ChangeCrashed, Unsure: c.unsure})
		if c.tooOften() {
			m.crashes = slices.DeleteFunc(m.crashes, func(o crash) bool { return o.filter == f.Name && o.version != f.Version && o.tooOften() })
			m.ready.Crashing = append(m.ready.Crashing, f.Version)
		}
		m.revive(f, true, m.crashOf(f).due)
	}
	if !sure {
		m.reviveOthers(m.crashOf(f).due, func(*resource.Filter) bool { return true })
	}
}

// echo is longer if the Envoy takes long to answer.
func (v *state) echo() time.Duration { return min(longEcho, max(shortEcho, 4*v.lag)) }

// echoes returns until when alarms may be from an earlier VM of f, in this or another
// version.
func (v *state) echoes(f *resource.Filter) time.Time {
	var until time.Time
	for i := range v.crashes {
		if c := &v.crashes[i]; c.filter == f.Name {
			until = later(until, c.until)
		}
	}
	return until
}

// maxPutOff is the most alarms that are put off; more are replaced by one for all filters.
const maxPutOff = 4

// putOff adds an alarm to those that are kept until the Envoy has listed what it has.
func putOff(alarms []Crash, e Crash) []Crash {
	switch {
	case slices.Contains(alarms, e):
		return alarms
	case len(alarms) >= maxPutOff:
		return []Crash{{}}
	}
	return append(slices.Clip(alarms), e)
}

// takeAlarms processes the alarms that were put off.
func (m *Machine) takeAlarms(now time.Time) {
	alarms := m.alarms
	m.alarms = nil
	for _, e := range alarms {
		e.apply(m, now)
	}
}

// untold reports whether a slot that takes requests holds a version that the Envoy reported
// and whose bytes are not known.
func (v *state) untold() bool {
	return slices.ContainsFunc(v.subs[Extension].have.Items, func(it item) bool {
		return it.Res == nil && !isTwin(it.Name) && it.Version != resource.EmptyVersion && v.wants(Extension, it.Name)
	})
}

// takeUntold takes alarms that may be of a version whose bytes are known since the snapshot
// was published.
func (m *Machine) takeUntold(now time.Time) {
	if len(m.alarms) > 0 && m.subs[Extension].subscribed && !m.untold() {
		m.alarms = nil
		m.reviveOthers(now, func(*resource.Filter) bool { return true })
	}
}

// crashed counts a crash.
func (c *crash) crashed(t Timing) {
	c.count++
	copy(c.last[1:], c.last[:])
	c.last[0] = t.Now
	if c.replaced.IsZero() || t.Now.Sub(c.replaced) >= steady {
		c.pause = 0
	} else {
		c.pause = min(maxPause, max(firstPause, 2*c.pause))
	}
	c.due = t.Now.Add(t.jitter(c.pause))
}

// tooOften reports whether the version crashes so often that the previous one is better.
func (c *crash) tooOften() bool {
	oldest := c.last[crashLimit-1]
	return !oldest.IsZero() && c.last[0].Sub(oldest) < crashWindow
}

// crashedFilter returns the filter that an alarm is for, in its version on this Envoy. If
// the filter is unknown, it returns the one that was changed last, the most likely one.
func (m *Machine) crashedFilter(told string) (found *resource.Filter, sure bool) {
	for _, f := range m.serving() {
		if f.Name == m.named(told) {
			return f, true
		}
		if found == nil || m.changed(f.Name) > m.changed(found.Name) {
			found = f
		}
	}
	return found, false
}

// named returns the filter that an alarm names, or the name itself if that is not a slot.
func (m *Machine) named(told string) string {
	if it, ok := m.subs[Extension].have.Find(told); ok && it.Filter != nil {
		return it.Filter.Name
	}
	return told
}

// serving returns the filters that run on this Envoy, each in its running version; if there
// are two, in the current one.
func (v *state) serving() []*resource.Filter {
	var filters []*resource.Filter
	for _, it := range v.subs[Extension].have.Items {
		if !v.isServing(it) {
			continue
		}
		switch i := slices.IndexFunc(filters, func(f *resource.Filter) bool { return f.Name == it.Filter.Name }); {
		case i < 0:
			filters = append(filters, it.Filter)
		case v.filter(it.Filter.Name) == it.Filter:
			filters[i] = it.Filter
		}
	}
	return filters
}

// isServing reports whether an item is a filter in a slot that takes requests, with a VM
// that may crash. An error in a Lua script ends only that call.
func (v *state) isServing(it item) bool {
	return it.Filter != nil && !it.Filter.Lua && it.Res != nil && !isTwin(it.Name) && v.wants(Extension, it.Name)
}

// changed returns when a filter began to run in its version, relative to the machine's
// beginning, or a negative value if that was before.
func (v *state) changed(filter string) time.Duration {
	for _, s := range v.stamps {
		if s.name == filter {
			return s.at
		}
	}
	return -1
}

// crashOf returns the state of f in its version, which it creates if necessary.
func (m *Machine) crashOf(f *resource.Filter) *crash {
	c := m.crash(f)
	if c == nil {
		m.crashes = append(m.crashes, crash{filter: f.Name, version: f.Version})
		c = &m.crashes[len(m.crashes)-1]
	}
	return c
}

// crash returns the state of f in its version, or nil.
func (v *state) crash(f *resource.Filter) *crash {
	for i := range v.crashes {
		if c := &v.crashes[i]; c.filter == f.Name && c.version == f.Version {
			return c
		}
	}
	return nil
}

// With returns l with an alarm that has come since.
func (l Left) With(e Crash) Left {
	l.alarms = putOff(l.alarms, e)
	return l
}

// leftCrashes returns the crashes that the last stream has left, for a stream with a salt.
func (l Left) leftCrashes(salt int) []crash {
	crashes := slices.Clone(l.crashes)
	for i := range crashes {
		crashes[i].attempt = salt + 1 // what is in the slots now is unknown
	}
	return crashes
}

// Crashes describes the crashes of a filter's VMs on an Envoy.
type Crashes struct {
	Version  string    `json:"version"` // version of the filter that crashed
	Count    int       `json:"count"`   // crashes of that version
	Last     time.Time `json:"last"`
	Replaced time.Time `json:"replaced,omitzero"` // when the newest VM replaced a crashed one; zero: none has
	// WentBack means that it crashes too often, and the last good version runs instead, for
	// as long as the definition does not change.
	WentBack bool `json:"wentBack,omitempty"`
	// Unsure means that what Envoy reported of the last crash names none of its filters:
	// this one was changed last, but another one may have crashed. The VMs of all of them
	// are replaced.
	Unsure bool `json:"unsure,omitempty"`
}

// crashesOf returns the crashes of f, or of the version that f replaces; nil: there were
// none.
func (m *Machine) crashesOf(f *resource.Filter) *Crashes {
	c := m.crash(f)
	for i := range m.crashes {
		if o := &m.crashes[i]; (c == nil || c.count == 0) && o.filter == f.Name && o.tooOften() {
			c = o
		}
	}
	if c == nil || c.count == 0 {
		return nil
	}
	return &Crashes{Version: c.version, Count: c.count, Last: c.last[0], Replaced: c.replaced, Unsure: c.unsure}
}

// isDown returns in words that a filter's VM has crashed; "": it has not, as far as is
// known.
func (m *Machine) isDown(f *resource.Filter) string {
	c := m.crash(f)
	if c == nil || !c.own || !c.down {
		return ""
	}
	if c.unsure {
		return "its VM, or that of another filter, has crashed and is about to be replaced"
	}
	if c.count == 1 {
		return "its VM has crashed and is about to be replaced"
	}
	return fmt.Sprintf("its VM has crashed %d times and is about to be replaced", c.count)
}
