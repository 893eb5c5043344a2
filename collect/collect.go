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
	every   = 500 * time.Millisecond // interval of looks
	pause   = 10 * time.Second       // shortest time between collections
	least   = 16 << 20               // bytes allocated since the last collection
	busyAt  = 100                    // busy: a hundredth of the live heap is allocated between two looks
	worthAt = 4                      // worth it: a quarter of the live heap has been allocated
)

// heap contains sizes in bytes.
type heap struct {
	live    uint64 // after the last collection
	objects uint64 // now, including garbage
	allocs  uint64 // total since the program began
}

// due reports whether to collect: much was allocated since the last collection, and almost
// nothing since the previous look.
func (h heap) due(before heap) bool {
	come := h.objects - min(h.live, h.objects)
	return come >= max(least, h.live/worthAt) && h.allocs-before.allocs <= max(least, h.live)/busyAt
}

func look() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return heap{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()}
}

// Run looks at the heap, and collects when it is due, until ctx ends.
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
