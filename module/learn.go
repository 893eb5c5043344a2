package module

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"wasmxds/state"
)

// learn follows what other servers of the state have stored about filters: what
// they accepted for filters with allow: computed, so that all of them reject
// the same, and who has signed modules. It returns when ctx ends.
func (l *resolution) learn(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.learnOnce(ctx)
		if ctx.Err() != nil || errors.Is(err, state.ErrCompacted) {
			continue
		}
		l.Logger.Error("what other servers accepted of modules can't be read", "error", err)
		l.sleep(ctx, time.Second)
	}
}

func (l *resolution) learnOnce(ctx context.Context) error {
	entries, at, err := l.Shared.List(ctx, filterKeys)
	if err != nil {
		return err
	}
	for _, e := range entries {
		l.learnOf(ctx, state.Event{Entry: e})
	}
	for e, err := range l.Shared.Watch(ctx, filterKeys, at) {
		if err != nil {
			return err
		}
		l.learnOf(ctx, e)
	}
	return ctx.Err()
}

// learnOf processes one entry. It ignores one that can't be read; the next
// server that starts will report it.
func (l *resolution) learnOf(ctx context.Context, e state.Event) {
	name := strings.TrimPrefix(e.Key, filterKeys)
	var kept struct {
		Accepted accepted `json:"accepted"`
		Module   Info     `json:"module"`
	}
	if !e.Gone && (json.Unmarshal(e.Value, &kept) != nil || kept.Accepted == "" && kept.Module.Signed == "") {
		return
	}
	l.post(ctx, func() {
		l.prove(kept.Module)
		if !e.Gone && kept.Accepted == "" {
			return
		}
		filter := l.filters[name]
		switch before, known := l.accepted[name]; {
		case e.Gone && filter == nil:
			delete(l.accepted, name)
		case e.Gone:
		case !known || before.with(kept.Accepted.names()) != before:
			l.accepted[name] = before.with(kept.Accepted.names())
			if filter != nil {
				filter.judged = nil
			}
		}
	})
}
