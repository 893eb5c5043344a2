package xds_test

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"wasmxds/xds"
)

// TestGeneration checks that the status is the same as long as the generation is, while
// Envoys join, swap, reject, and leave.
func TestGeneration(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		c := newClock()
		s := start(t, xds.Options{Now: c.Now})
		type told struct {
			nodes   []xds.NodeStatus
			count   xds.NodeCount
			filters map[string]xds.FilterCount
		}
		looks, end := 0, make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() {
			var of uint64
			var before *told
			for {
				select {
				case <-end:
					return
				case <-time.After(time.Millisecond):
				}
				g, now := s.Generation(), &told{}
				now.nodes, _ = s.Nodes("", 0)
				now.count, now.filters = s.Summary()
				if s.Generation() != g {
					continue // it changed meanwhile
				}
				if before != nil && of == g && !reflect.DeepEqual(before, now) {
					t.Errorf("generation %d told\n%+v\nand then\n%+v", g, before, now)
					return
				}
				of, before = g, now
				looks++
			}
		})
		s.publish(t, hello1)
		e := s.up(t, "a", delta)
		s.up(t, "b", !delta)
		s.publish(t, hello2)
		e.expect("ECDS primer/hello: Unable to create Wasm plugin hello")
		e.has(moduleOf("hello", "v2"))
		eventually(t, "swapped", func() bool {
			c.advance(time.Second) // its back-off passes
			_, filters := s.Summary()
			return filters["hello"].Running == 1
		})
		e.leave()
		eventually(t, "away", func() bool { n, _ := s.Summary(); return n.Awaited == 1 })
		c.advance(3 * time.Minute)
		eventually(t, "not awaited", func() bool { n, _ := s.Summary(); return n.Away == 1 && n.Awaited == 0 })
		close(end)
		watching.Wait()
		if looks < 20 {
			t.Errorf("looked %d times", looks)
		}
	})
}
