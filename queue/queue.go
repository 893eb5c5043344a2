// Package queue passes values from many goroutines to one, in order, without
// blocking the senders.
//
// Start with [New].
package queue

import "sync"

// Queue holds values until they are taken. It is safe for concurrent use.
type Queue[T any] struct {
	mu   sync.Mutex
	held []T
	some chan struct{} // holds a token while there may be values
}

// New returns an empty Queue.
func New[T any]() *Queue[T] { return &Queue[T]{some: make(chan struct{}, 1)} }

// Add adds a value. It never blocks.
func (q *Queue[T]) Add(one T) {
	q.mu.Lock()
	q.held = append(q.held, one)
	q.mu.Unlock()
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
	return taken
}
