package dryrun

import (
	"fmt"
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// events are what is scheduled, in the module's time. Nobody waits for that time to pass:
// when nothing else is left to do, the clock jumps to the next event.
type events struct {
	all    []event // sorted by time
	period time.Duration
	tick   time.Time // time of the next tick, if a period is set
	ticked int       // number of ticks so far
}

type event struct {
	at time.Time
	do func()
}

// maxPending is how many events may be scheduled.
const maxPending = 10_000

// maxEvents is how many events may occur while one stream is played.
const maxEvents = 10_000

// afterTime schedules a function.
func (h *host) afterTime(d time.Duration, do func()) {
	if len(h.events.all) >= maxPending {
		panic(&excess{fmt.Sprintf("more than %d answers and queued items that it is to be told of", maxPending)})
	}
	e := event{h.now().Add(d), do}
	i, _ := slices.BinarySearchFunc(h.events.all, e, func(a, b event) int {
		if !a.at.After(b.at) {
			return -1 // after those of the same time
		}
		return 1
	})
	h.events.all = slices.Insert(h.events.all, i, e)
}

// next runs the next event, and reports whether there was one. If ticks are left, the
// module's timer is among the events.
func (h *host) next(ticks *int) bool {
	e := &h.events
	ticking := e.period > 0 && *ticks > 0
	if !ticking {
		return h.happen(false)
	}
	before := e.ticked
	found := h.happen(true)
	*ticks -= e.ticked - before
	return found
}

// due reports whether an event, including a tick of the timer, is due at a time.
func (h *host) due(at time.Time) bool {
	e := &h.events
	return h.vm.failed == nil && (e.period > 0 && !e.tick.After(at) || len(e.all) > 0 && !e.all[0].at.After(at))
}

// nextUntil runs the next event if that is an answer, or a tick of the timer before a given
// time or before an answer.
func (h *host) nextUntil(at time.Time) bool {
	e := &h.events
	return h.happen(e.period > 0 && (!e.tick.After(at) || len(e.all) > 0 && e.tick.Before(e.all[0].at)))
}

// happen runs the next event, and reports whether there was one.
func (h *host) happen(ticking bool) bool {
	e := &h.events
	switch {
	case h.vm.failed != nil || !ticking && len(e.all) == 0:
		return false
	case ticking && (len(e.all) == 0 || e.tick.Before(e.all[0].at)):
		e.ticked++
		h.skipTo(e.tick)
		e.tick = e.tick.Add(e.period)
		h.callRoot("proxy_on_tick")
	default:
		due := e.all[0]
		e.all = e.all[1:]
		h.skipTo(due.at)
		due.do()
	}
	return true
}

func (h *host) skipTo(at time.Time) {
	if d := at.Sub(h.now()); d > 0 {
		h.skipped += d
	}
}

// setTimer sets the period of the module's timer; 0 stops it.
func (h *host) setTimer(period time.Duration) {
	h.events.period, h.events.tick = period, h.now().Add(period)
}

// callRoot calls a callback of the plugin.
func (h *host) callRoot(name string, args ...uint64) (result uint64, found bool) {
	if h.vm.failed != nil {
		return 0, false
	}
	results, found, err := h.vm.enter(h.scopes[rootContext], name, append([]uint64{rootContext}, args...)...)
	h.replied = false
	h.runAfter()
	if err != nil || len(results) == 0 {
		return 0, found
	}
	return results[0], true
}

// end ends the plugin, as Envoy does when it removes a filter. The plugin may delay that
// until it calls proxy_done.
func (h *host) end(ticks *int) {
	if result, found := h.callRoot("proxy_on_done"); !found || result != 0 {
		h.callRoot("proxy_on_delete")
		return
	}
	h.ending = true
	for i := 0; h.ending && i < maxEvents && h.next(ticks); i++ {
	}
}

func (h *host) done(api.Module, args) status {
	if !h.ending {
		return notFound
	}
	h.ending = false
	h.later(func() { h.callRoot("proxy_on_delete") })
	return ok
}
