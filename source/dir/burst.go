package dir

import "time"

// burst is a run of changes that belong together. The zero value is closed.
type burst struct{ first, last time.Time }

func (b burst) open() bool { return !b.first.IsZero() }

// touch notes one more change.
func (b *burst) touch(now time.Time) {
	if b.first.IsZero() {
		b.first = now
	}
	b.last = now
}

// due is when the burst is to be looked at: after quiet without a change, and
// at the latest limit after its first one.
func (b burst) due(quiet, limit time.Duration) time.Time {
	due, last := b.last.Add(quiet), b.first.Add(limit)
	if last.Before(due) {
		return last
	}
	return due
}
