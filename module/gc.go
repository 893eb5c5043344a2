package module

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// Retain determines how long unreferenced modules are kept: an Envoy may still
// request one, and a rollback needs no fetch as long as the module is present.
type Retain struct {
	For   time.Duration // since its last use; default 24 h
	Bytes int64         // total size of unreferenced modules; the oldest are removed first; default 1 GiB
}

// inUse is how long a module is never removed after its last use, because it
// may be about to be referenced.
const inUse = 10 * time.Minute

// GC removes modules that are not in named and need not be retained. It returns
// their number.
func (s *Store) GC(ctx context.Context, now time.Time, named map[string]bool, keep Retain) (int, error) {
	keep.For = cmp.Or(keep.For, 24*time.Hour)
	keep.Bytes = cmp.Or(keep.Bytes, 1<<30)
	type module struct {
		sha256 string
		size   int64
		used   time.Time
	}
	var idle []module
	err := s.each(ctx, func(sha256 string, stat fs.FileInfo) error {
		used := s.lastUse(sha256, stat.ModTime())
		if !named[sha256] && now.Sub(used) >= inUse {
			idle = append(idle, module{sha256, stat.Size(), used})
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("clean module store: %w", err)
	}
	slices.SortFunc(idle, func(a, b module) int { return b.used.Compare(a.used) })
	var kept int64
	var removed int
	for _, m := range idle {
		if kept += m.size; kept <= keep.Bytes && now.Sub(m.used) < keep.For {
			continue
		}
		gone, err := s.discard(m.sha256, m.used)
		if err != nil {
			return removed, fmt.Errorf("clean module store: %w", err)
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

// discard removes a module, unless it was used later than the given time.
func (s *Store) discard(sha256 string, used time.Time) (removed bool, err error) {
	return s.removeIf(sha256, func(stat fs.FileInfo) bool {
		now := stat.ModTime()
		if known := s.verified[sha256].used; known.After(now) {
			now = known
		}
		return !now.After(used)
	})
}

func (s *Store) lastUse(sha256 string, modified time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used := s.verified[sha256].used; used.After(modified) {
		return used
	}
	return modified
}
