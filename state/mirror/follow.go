package mirror

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"time"

	"github.com/cenkalti/backoff/v5"

	"wasmxds/state"
)

// checkEvery is the interval at which the copy checks that the shared store is available
// and still the same.
const checkEvery = 15 * time.Second

// Run keeps the copy in sync with the shared store until ctx ends.
func (s *Store) Run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = lastRetry
	for ctx.Err() == nil {
		err := s.ready(ctx)
		if err == nil {
			pause.Reset()
			err = s.follow(ctx)
		}
		if err == nil || ctx.Err() != nil {
			continue // compare again
		}
		s.failed(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
			s.stale()
		}
	}
}

// ready compares the copy with the shared store, if that is necessary.
func (s *Store) ready(ctx context.Context) error {
	s.mu.Lock()
	synced := s.synced
	s.mu.Unlock()
	select {
	case <-s.changed:
	default:
		if synced {
			return nil
		}
	}
	return s.sync(ctx, nil)
}

// follow applies the events of the shared store to the copy. It returns nil when the copy
// must be compared again.
func (s *Store) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	at := s.heardOf()
	batches := make(chan []state.Event, 64)
	ended := make(chan error, 1)
	go func() { ended <- s.watch(ctx, at, batches) }()
	err := s.hear(ctx, batches)
	cancel()
	if watched := <-ended; watched != nil && !errors.Is(watched, state.ErrCompacted) && err == nil {
		err = watched
	}
	return err
}

// watch sends the events after a revision, in whole batches, and closes the channel when it
// ends.
func (s *Store) watch(ctx context.Context, at state.Revision, batches chan<- []state.Event) error {
	defer close(batches)
	var batch []state.Event
	for e, err := range s.o.Remote.Watch(ctx, "", at) {
		if err != nil {
			s.stale()
			return err
		}
		if batch = append(batch, e); e.More {
			continue
		}
		select {
		case batches <- batch:
			batch = nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// hear applies batches until the copy must be compared again.
func (s *Store) hear(ctx context.Context, batches <-chan []state.Event) error {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
			s.stale() // for ready
			return nil
		case batch, more := <-batches:
			if !more {
				return nil
			}
			for len(batches) > 0 { // one write for all waiting batches
				batch = append(batch, <-batches...)
			}
			if err := s.heard(ctx, batch); err != nil {
				s.stale()
				return err
			}
		case <-ticker.C:
			if err := s.check(ctx); err != nil {
				s.failed(err)
			}
		}
	}
}

// check checks that the shared store is available and still the same, and writes what is
// pending.
func (s *Store) check(ctx context.Context) error {
	before := s.heardOf()
	id, at, err := s.o.Remote.ID(ctx)
	if err != nil {
		return err
	}
	s.worked()
	s.mu.Lock()
	same := id == s.id && at >= before
	s.mu.Unlock()
	if !same {
		s.o.Log.Error("the state was lost: it gets what is known here", "in", s.o.Name)
		s.stale()
		return nil
	}
	if err := s.hold(ctx); err != nil {
		return err
	}
	defer s.release()
	return s.pushPending(ctx, nil)
}

// heard applies events of the shared store to the copy.
func (s *Store) heard(ctx context.Context, events []state.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []state.Op
	marks := map[string]mark{}
	at := s.at
	for _, e := range events {
		if e.Revision <= s.at || !s.shared(e.Key) {
			continue
		}
		at = e.Revision
		m, heard := marks[e.Key]
		if !heard {
			m = s.marks[e.Key]
		}
		next := mark{at: e.Revision}
		if e.Gone {
			next = mark{}
		}
		ours := e.Revision <= m.at
		if ours {
			next = m
		} else if m.pending {
			same, err := s.same(ctx, e)
			if err != nil {
				return err
			}
			earlier := !same && m.sent.has(hash(e.Value, !e.Gone)) // what is pending is newer
			if ours = same || earlier; earlier {
				next.pending, next.sent = true, m.sent
			} else if same {
				s.arrived(e.Key)
			}
		}
		switch whole := s.wholeOf(e.Key); {
		case ours:
		case whole != "" && s.owes(whole): // others have continued
			maps.Copy(marks, s.givenUp(e.Key))
		case m.pending:
			next.pending, next.sent = true, m.sent
		default:
			ops = append(ops, state.Op{Key: e.Key, Value: e.Value, Remove: e.Gone})
		}
		marks[e.Key] = next
	}
	if _, err := s.write(ctx, ops, marks); err != nil {
		return err
	}
	s.at = at
	return nil
}

// same reports whether the copy already has the content of an event.
func (s *Store) same(ctx context.Context, e state.Event) (bool, error) {
	have, err := s.o.Local.Get(ctx, e.Key)
	if errors.Is(err, state.ErrNotFound) {
		return e.Gone, nil
	}
	return !e.Gone && bytes.Equal(have.Value, e.Value), err
}
