// Package burst tells when changes that come together are to be looked at.
package burst

import "time"

// Burst is a run of changes that belong together. The zero value is closed.
type Burst struct{ First, Last time.Time }

// Open says whether there was a change.
func (b Burst) Open() bool { return !b.First.IsZero() }

// Touch notes one more change.
func (b *Burst) Touch(now time.Time) {
	if b.First.IsZero() {
		b.First = now
	}
	b.Last = now
}

// Due is when the burst is to be looked at: after quiet without a change, and
// at the latest limit after its first one.
func (b Burst) Due(quiet, limit time.Duration) time.Time {
	due, last := b.Last.Add(quiet), b.First.Add(limit)
	if last.Before(due) {
		return last
	}
	return due
}
