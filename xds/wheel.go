package xds

import (
	"container/heap"
	"context"
	"sync"
	"time"
	"weak"
)

// wheel wakes clients at the times they are due: one timer for all.
type wheel struct {
	mu      sync.Mutex
	queue   timeouts
	changed chan struct{} // holds a token when the first entry changed
}

// timeout holds no client that has gone: it may be due long after.
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

func newWheel() *wheel { return &wheel{changed: make(chan struct{}, 1)} }

// add wakes c at that time, too.
func (w *wheel) add(c *client, at time.Time) {
	w.mu.Lock()
	t := timeout{at, weak.Make(c)}
	heap.Push(&w.queue, t)
	first := w.queue[0].c == t.c && w.queue[0].at.Equal(at)
	w.mu.Unlock()
	if first {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// run calls wake for each client when it is due, until ctx ends.
func (w *wheel) run(ctx context.Context, now func() time.Time, wake func(*client)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-timer.C:
		}
		for _, c := range w.due(now()) {
			wake(c)
		}
		if next, ok := w.first(); ok {
			timer.Reset(next.Sub(now()))
		}
	}
}

func (w *wheel) due(now time.Time) []*client {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*client
	for len(w.queue) > 0 && !w.queue[0].at.After(now) {
		if c := heap.Pop(&w.queue).(timeout).c.Value(); c != nil {
			out = append(out, c)
		}
	}
	return out
}

func (w *wheel) first() (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return time.Time{}, false
	}
	return w.queue[0].at, true
}
