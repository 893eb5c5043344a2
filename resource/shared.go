package resource

import (
	"sync"
	"weak"
)

// shared has one value for each key, for as long as somebody uses it: which keys
// there are is for Envoys to say.
type shared[K comparable, V any] struct {
	mu    sync.Mutex
	m     map[K]weak.Pointer[V]
	sweep int // size at which those that nobody uses are next swept out
}

// get gives the value, and has it built, one at a time, where nobody has it.
func (s *shared[K, V]) get(key K, build func() *V) *V {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.m[key].Value(); v != nil {
		return v
	}
	if len(s.m) >= s.sweep {
		for k, w := range s.m {
			if w.Value() == nil {
				delete(s.m, k)
			}
		}
		s.sweep = max(minSweep, 2*len(s.m))
	}
	if s.m == nil {
		s.m = map[K]weak.Pointer[V]{}
	}
	v := build()
	s.m[key] = weak.Make(v)
	return v
}
