package pipeline

import (
	"sync"

	"wasmxds/xds"
)

// swaps are steps that Envoys have made with a change, in order, until they are
// taken. Who publishes takes them: an Envoy may have swapped before all who count
// it know of the change, and an Envoy's goroutine counts nothing itself.
type swaps struct {
	mu    sync.Mutex
	queue []xds.Swaps
	some  chan struct{} // holds a token while there are some
}

func newSwaps() *swaps { return &swaps{some: make(chan struct{}, 1)} }

// add never waits.
func (s *swaps) add(w xds.Swaps) {
	s.mu.Lock()
	s.queue = append(s.queue, w)
	s.mu.Unlock()
	select {
	case s.some <- struct{}{}:
	default:
	}
}

func (s *swaps) take() []xds.Swaps {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.queue
	s.queue = nil
	return taken
}
