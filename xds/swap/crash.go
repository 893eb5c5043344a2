package swap

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/resource"
)

// A Wasm VM that traps is gone for good: with fail closed the worker thread that it
// was of answers 503 from then on, with fail open requests pass without the filter.
// Envoy makes another VM for that worker, and leaves alone those of the others,
// when the slot gets the same content in other bytes: what the twin has ACKed, with
// another attempt. The twin itself serves nobody; pushing it replaces nothing.

// Times of crashes.
const (
	// shortEcho is for how long, at least, an alarm may still be of the VM before,
	// once that was replaced: Envoy tells of requests a tenth of a second late.
	shortEcho = 250 * time.Millisecond
	longEcho  = 2 * time.Second
	// steady is how long a VM has to last for the next to come at once.
	steady = 10 * time.Second
	// firstPause and maxPause bound the pauses before others, each twice the one
	// before, much as those of onFailure: reload.
	firstPause = 250 * time.Millisecond
	maxPause   = 5 * time.Second
	// crashLimit crashes within crashWindow are too many.
	crashLimit  = 3
	crashWindow = time.Minute
)

// Crash is that a VM has crashed on this Envoy, as its access log tells. It is told
// for each request that met one.
type Crash struct {
	// Filter is the filter's name, or that of a slot that holds it; anything else
	// is that it is not known which one it was.
	Filter string
}

// crash is what is noted of a filter whose VM has crashed, and of one that may have
// shared it.
type crash struct {
	filter, version string
	count           int
	last            [crashLimit]time.Time // the newest first
	replaced        time.Time             // when the VM of a crash of its own was

	down    bool          // other bytes are to be pushed, or in flight
	own     bool          // for a crash of its own
	again   bool          // there was an alarm while they were in flight
	attempt int           // of them
	due     time.Time     // not before
	pause   time.Duration // before that
	until   time.Time     // alarms may be of the VM before
}

func (e Crash) apply(m *Machine, now time.Time) {
	if !m.subs[Extension].subscribed {
		m.alarms = putOff(m.alarms, e)
		return
	}
	f, sure := m.crashedFilter(e.Filter)
	if f == nil {
		return
	}
	c, before := m.crashOf(f), m.echoes(f)
	switch {
	case c.down && m.replacedBy(m.subs[Extension].flight, c):
		c.again = true
	case c.down: // but filters may have come that share its VM
		m.reviveOthers(c.due, sharing(f))
	case now.Before(before):
		m.revive(f, false, before)
	default:
		c.crashed(m.timing(now))
		m.change(ChangeCrashed, f, f.Version, f.Version)
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

// echo is longer where the Envoy takes long to answer.
func (v *state) echo() time.Duration { return min(longEcho, max(shortEcho, 4*v.lag)) }

// echoes is until when alarms may be of a VM that was there before f's, in this or
// another version.
func (v *state) echoes(f *resource.Filter) time.Time {
	var until time.Time
	for i := range v.crashes {
		if c := &v.crashes[i]; c.filter == f.Name {
			until = later(until, c.until)
		}
	}
	return until
}

// maxPutOff bounds alarms that are put off; more come to one of all filters.
const maxPutOff = 4

// putOff adds one to those that are kept until the Envoy has told what it has.
func putOff(alarms []Crash, e Crash) []Crash {
	switch {
	case slices.Contains(alarms, e):
		return alarms
	case len(alarms) >= maxPutOff:
		return []Crash{{}}
	}
	return append(slices.Clip(alarms), e)
}

// takeAlarms takes those that were put off.
func (m *Machine) takeAlarms(now time.Time) {
	alarms := m.alarms
	m.alarms = nil
	for _, e := range alarms {
		e.apply(m, now)
	}
}

// crashed counts one.
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

// tooOften tells whether it crashes so often that the version before is better.
func (c *crash) tooOften() bool {
	oldest := c.last[crashLimit-1]
	return !oldest.IsZero() && c.last[0].Sub(oldest) < crashWindow
}

// crashedFilter finds the filter that an alarm counts for, as it is on this Envoy:
// where that is not known the one that was changed last, as most likely it is that.
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

// named is the filter that an alarm names; "": none.
func (m *Machine) named(told string) string {
	if it, ok := m.subs[Extension].have.Find(told); ok && it.Filter != nil {
		return it.Filter.Name
	}
	return told
}

// serving are the filters that run on this Envoy, each in the version in which it
// does, of two in the one that is wanted.
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

// isServing tells whether something is a filter in a slot that takes requests, and
// has a VM that may crash. What goes wrong in a script ends that call of it alone.
func (v *state) isServing(it item) bool {
	return it.Filter != nil && !it.Filter.Lua && it.Res != nil && !isTwin(it.Name) && v.wants(Extension, it.Name)
}

// changed is when a filter came to run in its version, from the machine's beginning
// on; it did so before where that is negative.
func (v *state) changed(filter string) time.Duration {
	for _, s := range v.stamps {
		if s.name == filter {
			return s.at
		}
	}
	return -1
}

// crashOf is what is noted of f in its version.
func (m *Machine) crashOf(f *resource.Filter) *crash {
	c := m.crash(f)
	if c == nil {
		m.crashes = append(m.crashes, crash{filter: f.Name, version: f.Version})
		c = &m.crashes[len(m.crashes)-1]
	}
	return c
}

// crash is the same; nil: there is nothing.
func (v *state) crash(f *resource.Filter) *crash {
	for i := range v.crashes {
		if c := &v.crashes[i]; c.filter == f.Name && c.version == f.Version {
			return c
		}
	}
	return nil
}

// With is l with an alarm that has come since.
func (l Left) With(e Crash) Left {
	l.alarms = putOff(l.alarms, e)
	return l
}

// leftCrashes are those that the last stream has left, for a stream with a salt.
func (l Left) leftCrashes(salt int) []crash {
	crashes := slices.Clone(l.crashes)
	for i := range crashes {
		crashes[i].attempt = salt + 1 // what is in the slots by now is not known
	}
	return crashes
}

// Crashes is that VMs of a filter have crashed on an Envoy.
type Crashes struct {
	Version  string    `json:"version"` // of the filter, that crashed
	Count    int       `json:"count"`   // of that version
	Last     time.Time `json:"last"`
	Replaced time.Time `json:"replaced,omitzero"` // when the newest VM took the place of a crashed one; zero: none has
	// WentBack is that it crashes too often, and the version runs that was good
	// before, for as long as the definition stays as it is.
	WentBack bool `json:"wentBack,omitempty"`
}

// crashesOf is what is told of f's crashes, or of those of the version for which it
// is there; nil: there were none.
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
	return &Crashes{Version: c.version, Count: c.count, Last: c.last[0], Replaced: c.replaced}
}

// isDown says that a filter's VM is crashed, in words; "": it is not, as far as is
// known.
func (m *Machine) isDown(f *resource.Filter) string {
	c := m.crash(f)
	if c == nil || !c.own || !c.down {
		return ""
	}
	if c.count == 1 {
		return "its VM has crashed and is about to be replaced"
	}
	return fmt.Sprintf("its VM has crashed %d times and is about to be replaced", c.count)
}
