// Package collect runs Go's garbage collector when a busy time has ended, and returns free
// memory to the system.
//
// By itself the collector runs when the heap has doubled. After a fleet has connected, it
// may be just short of that: garbage, and goroutine stacks that were once deep, then make
// up more than half of all memory, for two minutes or until the next storm. Start with
// [Run].
package collect

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	every  = 250 * time.Millisecond // interval of looks
	pause  = 10 * time.Second       // shortest time between collections
	least  = 16 << 20               // bytes allocated since the last collection
	busyAt = 100                    // busy: a hundredth of the live heap is allocated between two looks
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

func look() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return heap{samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}

// Run looks at the heap, and collects when it is due, until ctx ends.
func Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var collected heap
	before, last := look(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := look()
		if now.due(before, collected) && time.Since(last) >= pause {
			debug.FreeOSMemory()
			collected, last = now, time.Now()
		}
		before = now
	}
}
