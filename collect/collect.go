// Package collect adapts Go's garbage collector to a fleet that connects: it lets more garbage
// gather while that lasts, and collects when it is over, returning free memory to the system.
//
// By itself the collector runs when the heap has doubled. While ten thousand Envoys connect,
// the heap doubles nine times, so that a seventh of the server's processor time is collecting.
// Afterwards it may be just short of doubling again: garbage, and goroutine stacks that were
// once deep, then make up more than half of all memory, for two minutes or until the next
// storm. Start with [Run].
package collect

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	every   = 250 * time.Millisecond // interval of looks
	pause   = 10 * time.Second       // shortest time between collections
	least   = 16 << 20               // bytes allocated since the last collection
	busyAt  = 100                    // busy: a hundredth of the live heap is allocated between two looks
	stormAt = 16                     // a storm: this part of it
	calm    = 4                      // looks without a storm that end it

	garbage     = 512 << 20 // bytes that may gather in a storm, if the live heap is smaller
	mostPercent = 400       // of the live heap that may gather in a storm
)

// heap contains sizes in bytes.
type heap struct {
	live   uint64 // after the last collection, whoever asked for it
	allocs uint64 // total since the program began
}

// due reports whether to collect: as much was allocated since the collection here as lives,
// and almost nothing since the previous look. A fleet that connects allocates several times
// what lives. A change allocates a few percent, for which a collection would cost more than
// the change itself.
func (h heap) due(before, collected heap) bool {
	return h.allocs-collected.allocs >= max(least, h.live) && h.allocs-before.allocs <= max(least, h.live)/busyAt
}

// stormy reports whether so much was allocated since the previous look that the collector
// would run every few seconds.
func (h heap) stormy(before heap) bool {
	return h.allocs-before.allocs >= max(least, h.live)/stormAt
}

// percent returns how much garbage may gather in a storm, as the runtime's GC percentage.
func (h heap) percent(usual int) int {
	return max(usual, min(mostPercent, int(100*garbage/max(least, h.live))))
}

func look() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return heap{samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}

// usual returns the GC percentage, which the environment may set (GOGC).
func usual() int {
	samples := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(samples)
	return int(min(samples[0].Value.Uint64(), mostPercent))
}

// Run looks at the heap, and collects when it is due, until ctx ends. A memory limit for the
// runtime (GOMEMLIMIT) holds in a storm as well.
func Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	usual := usual()
	percent := usual
	set := func(to int) {
		if to != percent {
			debug.SetGCPercent(to)
			percent = to
		}
	}
	defer func() { set(usual) }()
	var collected heap
	before, last, quiet := look(), time.Time{}, calm
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := look()
		if quiet++; now.stormy(before) {
			quiet = 0
		}
		switch {
		case now.due(before, collected) && time.Since(last) >= pause:
			debug.FreeOSMemory()
			collected, last = now, time.Now()
			set(usual)
		case quiet >= calm:
			set(usual)
		default:
			set(now.percent(usual))
		}
		before = now
	}
}
