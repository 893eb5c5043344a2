// Package burst determines when to process a series of changes.
package burst

import "time"

// Burst is a series of changes that are processed together. The zero value is
// closed.
type Burst struct{ First, Last time.Time }

// Open reports whether there was a change.
func (b Burst) Open() bool { return !b.First.IsZero() }

// Touch records another change.
func (b *Burst) Touch(now time.Time) {
	if b.First.IsZero() {
		b.First = now
	}
	b.Last = now
}

// Due returns when to process the burst: when there was no change for the
// duration quiet, and at the latest limit after the first change.
func (b Burst) Due(quiet, limit time.Duration) time.Time {
	due, last := b.Last.Add(quiet), b.First.Add(limit)
	if last.Before(due) {
		return last
	}
	return due
}
