// Package queue passes values from many goroutines to one, in order, without
// blocking the senders.
//
// Start with [New].
package queue

import (
	"sync"
	"time"
)

// Queue holds values until they are taken. It is safe for concurrent use.
type Queue[T any] struct {
	rest time.Duration
	some chan struct{} // holds a token while there may be values

	mu      sync.Mutex
	held    []T
	resting bool
}

// New returns an empty Queue. After values were taken, its receiver is not woken again for
// rest, so that a burst of values costs few wake-ups; 0: it is woken at once.
func New[T any](rest time.Duration) *Queue[T] {
	return &Queue[T]{rest: rest, some: make(chan struct{}, 1)}
}

// Add adds a value. It never blocks.
func (q *Queue[T]) Add(one T) {
	q.mu.Lock()
	q.held = append(q.held, one)
	resting := q.resting
	q.mu.Unlock()
	if !resting {
		q.wake()
	}
}

func (q *Queue[T]) wake() {
	select {
	case q.some <- struct{}{}:
	default: // the token is there already
	}
}

// Some returns a channel that receives a token when values were added. The
// receiver must then call Take.
func (q *Queue[T]) Some() <-chan struct{} { return q.some }

// Take removes and returns all values, the oldest first. There may be none.
func (q *Queue[T]) Take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.held
	q.held = nil
	if q.rest > 0 && !q.resting && len(taken) > 0 {
		q.resting = true
		time.AfterFunc(q.rest, q.rested)
	}
	return taken
}

// rested wakes the receiver if values were added meanwhile.
func (q *Queue[T]) rested() {
	q.mu.Lock()
	q.resting = false
	some := len(q.held) > 0
	q.mu.Unlock()
	if some {
		q.wake()
	}
}
