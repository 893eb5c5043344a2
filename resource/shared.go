package resource

import (
	"sync"
	"weak"
)

// shared has one value for each key as long as somebody references it. It must
// not keep others, since Envoys determine which keys there are.
type shared[K comparable, V any] struct {
	mu    sync.Mutex
	m     map[K]weak.Pointer[V]
	sweep int // size at which unused values are next removed
}

// get returns the value of a key, and builds it if nobody references it. It
// builds one value at a time.
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
