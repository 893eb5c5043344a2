package swap

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
)

// The invariants, by the numbers of ARCHITECTURE.md. Each function checks a response that
// is about to be sent against what is known at that time, and returns a violation. They are
// written independently of the plan, and share with it only the functions that look up
// names. A comment "Invariant N" in the plan marks each guard that keeps one.

// invariant is an invariant that a single response can violate.
type invariant func(v *state, a action, now time.Time) error

var invariants = []struct {
	number int
	holds  invariant
}{
	{1, slotsArePrimed},
	{2, listenersFindTheirFilters},
	{3, waitsAreNotEnded},
	{4, oneInFlight},
	{6, nothingNamedIsDropped},
	{7, nothingTwice},
	{9, wantedFiltersStay},
	{10, ordersArePublished},
	{11, routesFindTheirFilters},
	{11, rawRoutesFindTheirFilters},
	{12, loggersArePrimed},
	{13, slotsAreMentioned},
}

// slotsArePrimed is invariant 1: a serving slot never gets what this Envoy has not ACKed in
// its primer. Kept by slotContent, promised and leftItem.
func slotsArePrimed(v *state, a action, _ time.Time) error {
	if a.Type != Extension {
		return nil
	}
	for _, it := range a.Changed {
		if isTwin(it.Name) || it.Filter == nil || v.point(it.Filter) == it.Name {
			continue
		}
		if !v.primerHas(it.Filter, it.Filter.Version) {
			return fmt.Errorf("slot %s gets version %s, which no twin has", it.Name, it.Version)
		}
	}
	return nil
}

// primerHas reports whether this Envoy has ACKed a version of a filter in its primer, for
// the filter or its standby.
func (v *state) primerHas(f *resource.Filter, version string) bool {
	return slices.ContainsFunc([]string{f.TwinName, resource.TwinPrefix + f.StandbyName()}, func(twin string) bool {
		have, ok := v.subs[Extension].have.Find(twin)
		return ok && have.Version == version
	})
}

// listenersFindTheirFilters is invariant 2: no listener is sent before each of its slots
// either has a content or gets one as soon as Envoy subscribes. Kept by placeable, and by
// leftItem and promise, should the filter be removed meanwhile.
func listenersFindTheirFilters(v *state, a action, _ time.Time) error {
	if a.Type != Listener {
		return nil
	}
	have := v.subs[Extension].have
	for _, l := range a.Changed {
		for _, slot := range l.Slots {
			if isTwin(slot) {
				continue
			}
			if _, filled := have.Find(slot); filled {
				continue
			}
			filter := slot
			if isOwn(slot) {
				if filter = v.meant(l, slot); filter == "" {
					continue
				}
			}
			if twin, ok := have.Find(v.twinOf(filter)); ok && twin.Filter != nil {
				continue
			}
			if f := v.filter(filter); f != nil && f.OnFailure == definition.Open || f == nil && v.isStatic(slot) {
				continue
			}
			return fmt.Errorf("listener %s is sent, and nothing can be had for its slot %s", l.Name, slot)
		}
	}
	return nil
}

// waitsAreNotEnded is invariant 3: while a listener waits for a slot that can be filled,
// ECDS carries nothing that Envoy may reject, because one NACK ends all waits. Envoy
// accepts what it has ACKed in a twin, and contents that do nothing. If all that is waited
// for may itself be rejected, it goes alone. Kept by nextExtensions, nextWritten and
// inTurn, by doubtInFlight in nextListeners, and by waits, which returns what is waited
// for.
func waitsAreNotEnded(v *state, a action, now time.Time) error {
	extensions := &v.subs[Extension]
	switch a.Type {
	case Listener:
		if extensions.flight == nil {
			return nil
		}
		for _, it := range extensions.flight.Changed {
			if v.mayBeRefused(it) {
				return fmt.Errorf("a listener is sent while Envoy has not answered whether it takes %s", it.Name)
			}
		}
	case Extension:
		waits := v.waits(now)
		if v.subs[Listener].flight != nil {
			waits = forFilter
		}
		for _, it := range a.Changed {
			if waits == forNothing || !v.mayBeRefused(it) {
				continue
			}
			if _, filled := extensions.have.Find(it.Name); waits == forStatic && it.Written && !filled && len(a.Changed) == 1 {
				continue
			}
			return fmt.Errorf("%s is sent while a listener warms, and may be refused", it.Name)
		}
	}
	return nil
}

// mayBeRefused reports whether Envoy has not yet shown that it accepts an ECDS resource.
func (v *state) mayBeRefused(it item) bool {
	have := v.subs[Extension].have
	if it.Filter == nil {
		return it.Written && !have.Has(it)
	}
	return !v.primerHas(it.Filter, it.Filter.Version)
}

// isStatic reports whether a name is an extension configuration without a twin.
func (v *state) isStatic(name string) bool {
	it, ok := v.lookup(Extension, name)
	return ok && it.Filter == nil
}

// oneInFlight is invariant 4: at most one response of a type is in flight on a stream. Kept
// by plan.
func oneInFlight(v *state, a action, _ time.Time) error {
	if v.subs[a.Type].flight != nil {
		return fmt.Errorf("%s: another response is in flight", a.Type)
	}
	return nil
}

// nothingNamedIsDropped is invariant 6: a cluster is dropped only when no listener can name
// it any more, and a twin leaves the primer only when no listener waits that can be filled
// from it. In state of the world, a response can't contain a cluster whose bytes are
// unknown; such a cluster may be dropped sooner. Kept by listenersSettled in nextClusters,
// and by listenerChanges.
func nothingNamedIsDropped(v *state, a action, now time.Time) error {
	switch a.Type {
	case Cluster:
		listeners := &v.subs[Listener]
		for _, name := range a.Gone {
			had, _ := a.From.Find(name)
			if had.Res == nil && !a.Delta {
				continue
			}
			if v.namingUnknown(now) {
				return fmt.Errorf("cluster %s is dropped before the Envoy has told which listeners and routes it has", name)
			}
			if !listeners.subscribed {
				continue
			}
			if listeners.flight != nil || v.warming(now) {
				return fmt.Errorf("cluster %s is dropped while a listener is under way", name)
			}
			for _, l := range listeners.have.Items {
				if want, ok := v.lookup(Listener, l.Name); l.Name != resource.PrimerListener && (!ok || want.Version != l.Version) {
					return fmt.Errorf("cluster %s is dropped while listener %s is not as it is wanted", name, l.Name)
				}
			}
		}
	case Listener:
		before, _ := a.From.Find(resource.PrimerListener)
		after, _ := a.To.Find(resource.PrimerListener)
		for _, twin := range before.Slots {
			if slices.Contains(after.Slots, twin) {
				continue
			}
			content, _ := v.subs[Extension].have.Find(twin)
			if content.Filter == nil {
				continue
			}
			for _, l := range a.To.Items {
				if v.waitsFor(l, filterOf(twin)) {
					return fmt.Errorf("twin %s leaves while listener %s waits for its filter", twin, l.Name)
				}
			}
		}
	}
	return nil
}

// waitsFor reports whether a listener has a slot without content that was meant for a
// filter.
func (v *state) waitsFor(l item, filter string) bool {
	return slices.ContainsFunc(l.Slots, func(slot string) bool {
		if _, filled := v.subs[Extension].have.Find(slot); filled {
			return false
		}
		return slot == filter || slices.ContainsFunc(v.promises, func(p promise) bool { return p.slot == slot && p.filter == filter })
	})
}

// meant returns the filter for an own slot of a listener that is about to be sent; "":
// none.
func (v *state) meant(l item, slot string) string {
	if r := v.placements().byListener[l.Name]; r != nil && !r.kept && r.layout.Version == l.Version {
		return r.listener.Spread(r.layout)[slot]
	}
	return ""
}

// nothingTwice is invariant 7: nothing is sent that the Envoy already has, except to
// replace what it has rejected. Kept by complete, clusterDue, nextNamed, slots and
// listenerChanges, and by remember, which records what a reconnecting Envoy has.
func nothingTwice(v *state, a action, _ time.Time) error {
	for _, it := range a.Changed {
		have, ok := v.subs[a.Type].have.Find(it.Name)
		if ok && have.Is(it) && !slices.Contains(v.poisoned, it.Name) && !v.isCrashed(it) && !(a.Type == Listener && slices.Contains(v.taken, it.Name)) {
			return fmt.Errorf("%s %s is sent again in version %s", a.Type, it.Name, it.Version)
		}
	}
	return nil
}

// audit checks responses before they are sent.
type audit struct {
	broken func(error)
	pushed map[string]*resource.Resource // newest, by name of ECDS resource
}

func newAudit(broken func(error)) *audit {
	return &audit{broken: broken, pushed: map[string]*resource.Resource{}}
}

func (c *audit) check(v *state, a action, now time.Time) {
	for _, i := range invariants {
		if err := i.holds(v, a, now); err != nil {
			c.broken(fmt.Errorf("invariant %d: %w", i.number, err))
		}
	}
	alone := *v
	alone.at = &standing{asker: v.asker()} // with no cached answers
	if again, _ := plan(&alone, a.Type, now); again != a {
		c.broken(fmt.Errorf("the plan of %s is another when it is made again: it must only read, and answers depend on their asker alone", a.Type))
	}
	if !inOrderOfNames(a.Changed) {
		c.broken(fmt.Errorf("a response of type %s is not in the order of its names: what the Envoy has would not be found in it", a.Type))
	}
	if err := c.bytesDiffer(v, a); err != nil {
		c.broken(fmt.Errorf("invariant 5: %w", err))
	}
}

// inOrderOfNames reports whether items are sorted by name, without duplicates.
func inOrderOfNames(items []item) bool {
	for i := 1; i < len(items); i++ {
		if items[i-1].Name >= items[i].Name {
			return false
		}
	}
	return true
}

// bytesDiffer is invariant 5: a push that replaces a rejected one differs from it in bytes,
// or else Envoy would take it for what it has already rejected. Kept by the attempts in
// slotContent, track, findTwins and healed, and by held, for resources that have no other
// encoding.
func (c *audit) bytesDiffer(v *state, a action) error {
	if a.Type != Extension {
		return nil
	}
	for _, it := range a.Changed {
		have, ok := v.subs[Extension].have.Find(it.Name)
		was := c.pushed[it.Name]
		c.pushed[it.Name] = it.Res
		taken := ok && was != nil && have.Res != nil && bytes.Equal(have.Res.Value, was.Value)
		refused := slices.Contains(v.poisoned, it.Name) && !taken
		crashed := ok && v.isCrashed(it) // otherwise Envoy has dropped the slot, and knows nothing of it
		if (refused || crashed) && was != nil && bytes.Equal(was.Value, it.Res.Value) {
			return fmt.Errorf("%s is sent again in the bytes that were refused, or crashed", it.Name)
		}
	}
	return nil
}

// Unsettled is invariant 8: once faults have ended, every Envoy reaches the wanted state,
// and then nothing more is sent. Kept by wake. For a machine that has nothing in flight and
// nothing to wait for, it returns an error that names what differs from the wanted state;
// otherwise nil.
func (m *Machine) Unsettled(now time.Time) error {
	if !m.wake(now).IsZero() {
		return nil
	}
	for t := range Types {
		s := &m.subs[t]
		if s.flight != nil {
			return nil
		}
	}
	for t := range Types {
		s := &m.subs[t]
		if a, ok := plan(&m.state, t, now); ok {
			return fmt.Errorf("invariant 8: there is a response of type %s to send, and nothing that sends it", a.Type)
		}
		for _, it := range s.have.Items {
			if t == Route && !m.routeInUse(it.Name) || isOwn(it.Name) && !m.current(it.Name) {
				continue
			}
			if want, ok := m.lookup(t, it.Name); ok && want.Version != it.Version && m.wants(t, it.Name) && m.filterAt(it.Name) == nil && it.Name != m.snap.ModuleServer {
				return fmt.Errorf("invariant 8: %s %s stays at %s, wanted is %s", t, it.Name, it.Version, want.Version)
			}
		}
	}
	for _, f := range slices.Concat(m.snap.Filters, m.snap.Standbys) {
		if p := m.priming(f.Name); p != nil && p.Phase != Missing && m.wants(Extension, m.point(f)) {
			return fmt.Errorf("invariant 8: filter %s is at phase %d for ever", f.Name, p.Phase)
		}
	}
	return nil
}
