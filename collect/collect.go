// Package collect has Go's collector run when a busy time has ended, and gives what
// is free back to the system.
//
// By itself the collector runs when the heap has doubled. When a fleet has connected
// it may be just before that: garbage, and stacks of goroutines that were deep once,
// are then more than half of all memory, for two minutes or until the next storm.
// Start with [Run].
package collect

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	every   = 500 * time.Millisecond // between looks
	pause   = 10 * time.Second       // between collections, at least
	least   = 16 << 20               // bytes that have come since the last collection
	busyAt  = 100                    // busy: a hundredth of what was live comes between two looks
	worthAt = 4                      // worth it: a quarter of what was live has come
)

// heap is what a look sees, in bytes.
type heap struct {
	live    uint64 // after the last collection
	objects uint64 // now, garbage included
	allocs  uint64 // since the program began
}

// due tells whether to collect: much has come since the last collection, and next
// to nothing since the look before.
func (h heap) due(before heap) bool {
	come := h.objects - min(h.live, h.objects)
	return come >= max(least, h.live/worthAt) && h.allocs-before.allocs <= max(least, h.live)/busyAt
}

func look() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return heap{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()}
}

// Run looks until ctx ends.
func Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	before, last := look(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := look()
		if now.due(before) && time.Since(last) >= pause {
			debug.FreeOSMemory()
			last = time.Now()
		}
		before = now
	}
}
