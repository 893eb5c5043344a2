package xds

import (
	"container/heap"
	"context"
	"sync"
	"time"
	"weak"
)

// timers wakes clients when they are due, with one timer and one goroutine for all.
type timers struct {
	mu      sync.Mutex
	queue   timeouts
	changed chan struct{} // holds a token when the first entry changed
}

// timeout refers to its client weakly, because it may be due long after the client has
// gone.
type timeout struct {
	at time.Time
	c  weak.Pointer[client]
}

type timeouts []timeout

func (q timeouts) Len() int           { return len(q) }
func (q timeouts) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q timeouts) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *timeouts) Push(x any)        { *q = append(*q, x.(timeout)) }
func (q *timeouts) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = timeout{}
	*q = (*q)[:len(*q)-1]
	return last
}

func newTimers() *timers { return &timers{changed: make(chan struct{}, 1)} }

// add wakes c at an additional time.
func (t *timers) add(c *client, at time.Time) {
	t.mu.Lock()
	next := timeout{at, weak.Make(c)}
	heap.Push(&t.queue, next)
	first := t.queue[0].c == next.c && t.queue[0].at.Equal(at)
	t.mu.Unlock()
	if first {
		select {
		case t.changed <- struct{}{}:
		default:
		}
	}
}

// run calls wake for each client when it is due, until ctx ends.
func (t *timers) run(ctx context.Context, now func() time.Time, wake func(*client)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.changed:
		case <-timer.C:
		}
		for _, c := range t.due(now()) {
			wake(c)
		}
		if next, ok := t.first(); ok {
			timer.Reset(next.Sub(now()))
		}
	}
}

func (t *timers) due(now time.Time) []*client {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*client
	for len(t.queue) > 0 && !t.queue[0].at.After(now) {
		if c := heap.Pop(&t.queue).(timeout).c.Value(); c != nil {
			out = append(out, c)
		}
	}
	return out
}

func (t *timers) first() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return time.Time{}, false
	}
	return t.queue[0].at, true
}
