package main

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Ten thousand Envoys that connect are not ten thousand lines: of one message
// at one level, the first linesASecond of each second are written, and then how
// many more there were. What is asked for with --log-level debug is not limited.
const linesASecond = 20

// limitedLog is a slog.Handler that writes so. Run must run for the counts to be
// written.
type limitedLog struct {
	slog.Handler
	counts *lineCounts // shared with what WithAttrs and WithGroup make
}

type lineCounts struct {
	mu   sync.Mutex
	seen map[line]int // in this second
}

// line is what lines have in common that are much the same.
type line struct {
	level   slog.Level
	message string
}

func limitLog(h slog.Handler) *limitedLog {
	return &limitedLog{h, &lineCounts{seen: map[line]int{}}}
}

func (l *limitedLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && !l.counts.pass(line{r.Level, r.Message}) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

func (c *lineCounts) pass(of line) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[of]++
	return c.seen[of] <= linesASecond
}

func (l *limitedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limitedLog{l.Handler.WithAttrs(attrs), l.counts}
}

func (l *limitedLog) WithGroup(name string) slog.Handler {
	return &limitedLog{l.Handler.WithGroup(name), l.counts}
}

// Run begins a new count each second until ctx ends.
func (l *limitedLog) Run(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			l.flush()
			return
		case <-second.C:
			l.flush()
		}
	}
}

// flush says what was left out.
func (l *limitedLog) flush() {
	l.counts.mu.Lock()
	seen := l.counts.seen
	l.counts.seen = map[line]int{}
	l.counts.mu.Unlock()
	var left []line
	for of, n := range seen {
		if n > linesASecond {
			left = append(left, of)
		}
	}
	slices.SortFunc(left, func(a, b line) int {
		return cmp.Or(cmp.Compare(b.level, a.level), cmp.Compare(a.message, b.message))
	})
	for _, of := range left {
		r := slog.NewRecord(time.Now(), of.level, of.message, 0)
		r.Add("more", seen[of]-linesASecond)
		_ = l.Handler.Handle(context.Background(), r) // as slog.Logger does: there is nobody to tell
	}
}
