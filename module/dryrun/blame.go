package dryrun

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wasmxds/module"
	"wasmxds/state"
)

// blame remembers, across restarts, which trials end their process or never end, so that
// they are not run again. It records each trial when it begins, because a trial may also
// end this very process: a container that runs out of memory is killed as a whole.
type blame struct {
	kept state.View // marks, by the key of the trial
	log  *slog.Logger
	now  func() time.Time

	mu    sync.Mutex
	marks map[string]mark // by the key of the trial
}

// mark is what is held against a trial.
type mark struct {
	Filter  string    `json:"filter"`
	SHA256  string    `json:"sha256"`
	Since   time.Time `json:"since"`
	Strikes int       `json:"strikes"`          // how often in a row it began and did not end
	Reason  string    `json:"reason,omitempty"` // the verdict; "": it may be tried
}

const (
	maxMarks   = 1000
	maxStrikes = 2
)

// newBlame reads what was stored. A trial that was in progress when this program ended gets
// a strike. What can't be read is ignored.
func newBlame(ctx context.Context, kept state.View, log *slog.Logger) *blame {
	b := &blame{kept: kept, log: log, now: time.Now, marks: map[string]mark{}}
	state.Each(ctx, kept, "what a dry run ended in", func(key string, m mark) error {
		if m.Reason == "" {
			log.Warn("xds-server ended during a dry run", "filter", m.Filter, "sha256", m.SHA256, "times", m.Strikes)
		}
		b.put(key, m)
		return nil
	})
	return b
}

// verdict returns the error that is recorded for a trial, or nil.
func (b *blame) verdict(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, found := b.marks[key]
	switch {
	case !found:
		return nil
	case m.Reason != "":
	case m.Strikes < maxStrikes:
		return nil
	default:
		m.Reason = fmt.Sprintf("dry run: xds-server, or the process that tried it, was killed %d times meanwhile", m.Strikes)
	}
	return &module.ContentError{
		Message: fmt.Sprintf("%s; not tried since %s", m.Reason, m.Since.UTC().Format(time.RFC3339)),
		Hint:    "it is tried again when the module or the filter's configuration changes; verify: abi skips the dry run",
	}
}

// strikes returns how often a trial began and did not end.
func (b *blame) strikes(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.marks[key].Strikes
}

// begin records that a trial begins, which has not ended this many times before. A long
// trial waits until that is written. A short one does not, because the write takes only
// milliseconds, and to end this program takes longer.
func (b *blame) begin(ctx context.Context, key string, in inputs, strikes int, long bool) {
	b.note(key, mark{in.Name, in.SHA256, b.now(), strikes + 1, ""})
	if !long {
		b.kept.Hurry()
		return
	}
	if err := b.kept.Flush(ctx); err != nil && ctx.Err() == nil {
		b.log.Error("can't save the result of a dry run", "filter", in.Name, "error", err)
	}
}

// strike records how often a trial began and did not end. If strikes is 0, it removes the
// mark.
func (b *blame) strike(key string, in inputs, strikes int) {
	if strikes > 0 {
		b.note(key, mark{in.Name, in.SHA256, b.now(), strikes, ""})
	} else {
		b.mu.Lock()
		b.drop(key)
		b.mu.Unlock()
	}
	b.kept.Hurry()
}

// convict records a verdict and returns it.
func (b *blame) convict(key string, in inputs, reason string) error {
	b.note(key, mark{in.Name, in.SHA256, b.now(), 0, reason})
	b.kept.Hurry()
	return b.verdict(key)
}

func (b *blame) note(key string, m mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(key, m)
	b.kept.Put(key, m)
}

// put sets a mark, and removes the oldest one if there are too many.
func (b *blame) put(key string, m mark) {
	b.marks[key] = m
	for len(b.marks) > maxMarks {
		oldest := ""
		for k, other := range b.marks {
			if k != key && (oldest == "" || other.Since.Before(b.marks[oldest].Since)) {
				oldest = k
			}
		}
		b.drop(oldest)
	}
}

func (b *blame) drop(key string) {
	if _, there := b.marks[key]; there {
		delete(b.marks, key)
		b.kept.Remove(key)
	}
}
