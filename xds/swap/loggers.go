package swap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// A Wasm access logger has no slot: it is part of the listener, which changes with each
// version of it. It is primed in a twin like any filter. Then the listener is replaced by
// one with what the twin has (invariant 12). If the twin can't be primed, the listener
// stays as it is. A listener that is new, or never had the logger, does without it if the
// logger fails open, or else waits.

// loggers returns the access loggers of a listener of the snapshot on this Envoy, in the
// versions that it should have now, and the names of those that are not available.
func (v *state) loggers(l *resource.Listener, running string) (with []*resource.Filter, lacking []string) {
	for _, name := range l.Loggers {
		f := v.filter(name)
		if f == nil {
			continue
		}
		twin, ok := v.subs[Extension].have.Find(f.TwinName)
		primed, had := ok && twin.Filter != nil, f.LoggerIn(running)
		switch {
		case primed && twin.Version == f.Version, v.standsBy(f):
			with = append(with, f)
		case primed:
			with = append(with, twin.Filter)
		case had != "" && had == f.Version: // from an earlier stream; its twin is not listed yet
			with, lacking = append(with, f), append(lacking, name)
		case had == "" && strings.Contains(v.without, " "+name+" "):
		default:
			lacking = append(lacking, name)
		}
	}
	return with, lacking
}

// givenUpLoggers returns the value of state.without.
func (v *state) givenUpLoggers(now time.Time) string {
	if !v.snap.HasLoggers() { // most Envoys, at each step
		return ""
	}
	var b strings.Builder
	for i := range v.primings {
		f := v.filter(v.primings[i].Filter)
		if f != nil && f.OnFailure == definition.Open && v.snap.IsLogger(f.Name) && v.givenUp(f, now) {
			b.WriteString(" " + f.Name + " ")
		}
	}
	return b.String()
}

// loggerRuns returns the running version of an access logger; if there are several, one
// that is not the newest; "": it is in no listener.
func (v *state) loggerRuns(in *acked, f *resource.Filter) string {
	version := ""
	for _, l := range v.snap.Listeners {
		if !slices.Contains(l.Loggers, f.Name) {
			continue
		}
		have, _ := in.Find(l.Name)
		if found := f.LoggerIn(have.Version); version == "" || found != "" && version == f.Version {
			version = found
		}
	}
	return version
}

// logsIn reports whether a listener of the Envoy has an access logger in its current
// version, or should not have it.
func (v *state) logsIn(l *resource.Listener, have item, filter string) bool {
	if !slices.Contains(l.Loggers, filter) {
		return true
	}
	f := v.filter(filter)
	return f == nil || f.LoggerIn(have.Version) == f.Version
}

// unlogged returns the access loggers of a listener that it lacked before, or had in
// another version, or that an earlier one, which may still be draining, lacked.
func (m *Machine) unlogged(old, now item, at time.Time) []string {
	var names []string
	if i := slices.IndexFunc(m.replaced, func(r replacement) bool { return r.listener == now.Name }); i >= 0 && m.draining(now.Name, at) != nil {
		names = slices.Clone(m.replaced[i].unlogged)
	}
	l := m.listener(now.Name)
	if l == nil {
		return names
	}
	for _, name := range l.Loggers {
		if f := m.filter(name); f != nil && f.LoggerIn(old.Version) != f.LoggerIn(now.Version) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// olderLacks reports whether a listener was replaced that lacks an access logger of its
// successor.
func (v *state) olderLacks(listener, logger string) bool {
	return slices.ContainsFunc(v.replaced, func(r replacement) bool {
		return r.listener == listener && slices.Contains(r.unlogged, logger)
	})
}

// tookLoggers records the access loggers that listeners have got.
func (m *Machine) tookLoggers(listeners []item, before *acked, now time.Time) {
	var began []string
	for _, it := range listeners {
		l := m.listener(it.Name)
		if l == nil {
			continue
		}
		for _, name := range l.Loggers {
			f := m.filter(name)
			if f == nil || f.LoggerIn(it.Version) == "" || slices.Contains(began, name) {
				continue
			}
			if f.LoggerIn(it.Version) == f.Version {
				m.ready.Proved = append(slices.Clip(m.ready.Proved), f)
			}
			from, to := m.loggerRuns(before, f), m.loggerRuns(m.subs[Listener].have, f)
			if from == to {
				continue
			}
			began = append(began, name)
			if from != "" {
				m.change(ChangeSwapped, f, from, to)
			}
		}
	}
	m.stamp(began, now)
}

// loggersArePrimed is invariant 12: no listener is sent with an access logger that this
// Envoy has not ACKed in its primer, in that version. Kept by loggers, and by placeable.
func loggersArePrimed(v *state, a action, _ time.Time) error {
	if a.Type != Listener {
		return nil
	}
	for _, it := range a.Changed {
		l := v.listener(it.Name)
		if l == nil {
			continue
		}
		for _, name := range l.Loggers {
			f := v.filter(name)
			if f == nil {
				continue
			}
			if version := f.LoggerIn(it.Version); version != "" && !v.primerHas(f, version) {
				return fmt.Errorf("listener %s is sent with version %s of its access logger %s, which no twin has", it.Name, version, name)
			}
		}
	}
	return nil
}
