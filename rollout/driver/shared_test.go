package driver_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"wasmxds/state"
)

// shared is a store that several servers share, each with its own connection.
type shared struct {
	mu     sync.Mutex
	values map[string][]byte
	log    []state.Event // each revision is one batch of consecutive events
	rev    state.Revision
	more   chan struct{} // closed when log has grown
	term   uint64
	holder *tenure
	freed  chan struct{} // closed when there is no holder
	slow   time.Duration // the duration of a write
	sped   chan struct{} // closed when that changes
}

func newShared() *shared {
	return &shared{values: map[string][]byte{}, more: make(chan struct{}), freed: make(chan struct{}), sped: make(chan struct{})}
}

// delay sets the duration of writes, including pending ones.
func (s *shared) delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = d
	close(s.sped)
	s.sped = make(chan struct{})
}

// arrive waits for the duration of a write.
func (s *shared) arrive(ctx context.Context) error {
	for began := time.Now(); ; {
		s.mu.Lock()
		rest, sped := s.slow-time.Since(began), s.sped
		s.mu.Unlock()
		if rest <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sped:
		case <-time.After(rest):
		}
	}
}

// way is the connection of one server to it.
type way struct {
	state.Store // for methods that the tests don't need
	s           *shared
	mu          sync.Mutex
	cut         bool
	in          *tenure // nil: writes belong to no term
	copy        *copied // the copy that follows it
}

func (w *way) setCut(cut bool) {
	w.copy.mu.Lock()
	w.copy.look(context.Background())
	w.copy.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *way) away() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

func (w *way) List(_ context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	if w.away() {
		return nil, 0, errAway
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	var all []state.Entry
	for _, key := range slices.Sorted(maps.Keys(w.s.values)) {
		if strings.HasPrefix(key, prefix) {
			all = append(all, state.Entry{Key: key, Value: w.s.values[key]})
		}
	}
	return all, w.s.rev, nil
}

// Watch ends with an error as soon as the connection is cut.
func (w *way) Watch(ctx context.Context, prefix string, from state.Revision) iter.Seq2[state.Event, error] {
	return func(yield func(state.Event, error) bool) {
		for {
			w.s.mu.Lock()
			var events []state.Event
			for _, e := range w.s.log {
				if e.Revision > from && strings.HasPrefix(e.Key, prefix) {
					events = append(events, e)
				}
			}
			from = w.s.rev
			more := w.s.more
			w.s.mu.Unlock()
			if w.away() {
				yield(state.Event{}, errAway)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-more:
			}
		}
	}
}

func (w *way) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if w.away() {
		return 0, errAway
	}
	if err := w.s.arrive(ctx); err != nil {
		return 0, err
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.in != nil && w.s.holder != w.in {
		return 0, state.ErrDeposed
	}
	w.s.rev++
	for i, op := range ops {
		e := state.Event{Entry: state.Entry{Key: op.Key, Value: op.Value, Revision: w.s.rev}, Gone: op.Remove, More: i < len(ops)-1}
		w.s.log = append(w.s.log, e)
		if op.Remove {
			delete(w.s.values, op.Key)
		} else {
			w.s.values[op.Key] = op.Value
		}
	}
	close(w.s.more)
	w.s.more = make(chan struct{})
	return w.s.rev, nil
}

// tenure is a term.
type tenure struct {
	w      *way
	number uint64
	by     string // its holder
	done   chan struct{}
	once   sync.Once
}

func (t *tenure) Number() uint64        { return t.number }
func (t *tenure) Done() <-chan struct{} { return t.done }
func (t *tenure) Store() state.Store    { return t.w }
func (t *tenure) End() {
	t.once.Do(func() { close(t.done) })
	t.w.s.depose(t)
}

// depose ends a term in the store; its holder may not notice.
func (s *shared) depose(t *tenure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t != nil && s.holder == t {
		s.holder = nil
		close(s.freed)
		s.freed = make(chan struct{})
	}
}

func (s *shared) leads() *tenure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holder
}

// lead waits for a term whose writes go through a connection.
func (s *shared) lead(ctx context.Context, by *way) (state.Term, error) {
	for {
		s.mu.Lock()
		freed := s.freed
		if s.holder == nil && !by.away() {
			s.term++
			t := &tenure{number: s.term, done: make(chan struct{})}
			t.w = &way{s: s, in: t}
			s.holder = t
			s.mu.Unlock()
			return t, nil
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lead: %w", ctx.Err())
		case <-freed:
		case <-time.After(time.Second): // it may be back
		}
	}
}

// copied is a server's copy of the store, with its pending writes.
type copied struct {
	*way
	mu   sync.Mutex
	seen []state.Entry
	at   state.Revision
	owed map[string]state.Op
}

// look checks for new revisions, which end what is pending. The caller holds c.mu.
func (c *copied) look(ctx context.Context) {
	seen, at, err := c.way.List(ctx, "rollout/")
	if err == nil && at != c.at {
		c.seen, c.at, c.owed = seen, at, nil
	}
}

func (c *copied) List(ctx context.Context, _ string) ([]state.Entry, state.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(ctx)
	values := map[string][]byte{}
	for _, e := range c.seen {
		values[e.Key] = e.Value
	}
	for key, op := range c.owed {
		if values[key] = op.Value; op.Remove {
			delete(values, key)
		}
	}
	var all []state.Entry
	for _, key := range slices.Sorted(maps.Keys(values)) {
		all = append(all, state.Entry{Key: key, Value: values[key]})
	}
	return all, c.at, nil
}

func (c *copied) Apply(_ context.Context, ops []state.Op) (state.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed == nil {
		c.owed = map[string]state.Op{}
	}
	for _, op := range ops {
		c.owed[op.Key] = op
	}
	return 0, errAway
}

// in writes what is pending.
func (c *copied) in(ctx context.Context, t state.Term) (state.Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.look(ctx); len(c.owed) > 0 {
		if _, err := t.Store().Apply(ctx, slices.Collect(maps.Values(c.owed))); err != nil {
			return nil, err
		}
		c.owed = nil
	}
	return t.Store(), nil
}

func (c *copied) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed = nil
}
