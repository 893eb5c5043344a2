package main

import (
	"sync"

	"wasmxds/xds"
)

// swaps hands on what Envoys do with a change, in order. What they do while the
// change is being published waits until all who count it know of the change: on
// a busy machine an Envoy may have swapped before.
type swaps struct {
	to func(xds.Swap)

	mu      sync.Mutex
	waits   bool
	waiting []xds.Swap
}

// Swapped takes a step; it never waits itself.
func (s *swaps) Swapped(w xds.Swap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits {
		s.waiting = append(s.waiting, w)
		return
	}
	s.to(w)
}

// wait has steps wait until the function that it gives is called.
func (s *swaps) wait() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, w := range s.waiting {
			s.to(w)
		}
		s.waits, s.waiting = false, nil
	}
}
