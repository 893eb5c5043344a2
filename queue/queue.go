// Package queue hands things from many goroutines to one, in order, and none of the
// many ever waits.
//
// Start with [New].
package queue

import "sync"

// Queue holds what was added until it is taken. It is safe for concurrent use.
type Queue[T any] struct {
	mu   sync.Mutex
	held []T
	some chan struct{} // holds a token while there may be some
}

// New makes an empty Queue.
func New[T any]() *Queue[T] { return &Queue[T]{some: make(chan struct{}, 1)} }

// Add never waits.
func (q *Queue[T]) Add(one T) {
	q.mu.Lock()
	q.held = append(q.held, one)
	q.mu.Unlock()
	select {
	case q.some <- struct{}{}:
	default: // it is told already
	}
}

// Some gives a token once something was added; then all is to be taken.
func (q *Queue[T]) Some() <-chan struct{} { return q.some }

// Take takes all that there is, the oldest first. It may be nothing.
func (q *Queue[T]) Take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.held
	q.held = nil
	return taken
}
