package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"time"

	"wasmxds/state"
)

// change describes a commit.
type change struct {
	ops   []state.Op        // packed, each key once
	when  func(*head) error // returns an error if the head forbids the change
	leads string            // the name of the term that begins; "": none
}

// commit writes the next head and returns its revision. If another process has written one
// first, it starts again from that head.
func (s *Store) commit(ctx context.Context, c change) (state.Revision, error) {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	h, gone := s.known(), ""
	for try := 0; ; try++ {
		known := h != nil
		if !known {
			var err error
			if h, err = s.readHead(ctx); err != nil {
				return 0, err
			}
		}
		err := c.when(h)
		if err != nil && known && ctx.Err() == nil {
			h = nil // it may be too old to decide this
			continue
		}
		var at state.Revision
		if err == nil {
			at, err = s.attempt(ctx, h, c)
		}
		switch {
		case errors.Is(err, errHeadChanged):
		case errors.Is(err, errShardGone) && gone != h.version:
			gone = h.version
		default:
			return at, err
		}
		h = nil
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(mathrand.N(time.Duration(min(try, 10)+1) * 10 * time.Millisecond)):
		}
	}
}

// attempt writes the head that follows h.
func (s *Store) attempt(ctx context.Context, h *head, c change) (state.Revision, error) {
	if len(c.ops) == 0 && c.leads == "" && h.exists() {
		return h.Revision, s.still(ctx, h)
	}
	n := *h
	n.Revision++
	if !h.exists() {
		n.ID = rand.Text()
	}
	if c.leads != "" {
		n.Terms = maps.Clone(h.Terms)
		if n.Terms == nil {
			n.Terms = map[string]state.Revision{}
		}
		n.Terms[c.leads] = n.Revision
	}
	made, gone, err := s.add(ctx, &n, batch{n.Revision, c.ops})
	if err != nil {
		s.remove(ctx, made)
		return 0, err
	}
	if err := s.writeHead(ctx, &n); err != nil {
		if errors.Is(err, errHeadChanged) {
			s.remove(ctx, made)
		}
		return 0, err // it may have been written
	}
	s.remove(ctx, gone)
	s.swept = s.swept || n.Sharded == n.Revision
	return n.Revision, nil
}

// still returns errHeadChanged if a head is no longer the newest.
func (s *Store) still(ctx context.Context, h *head) error {
	now, err := s.readHead(ctx)
	if err == nil && now.version != h.version {
		err = errHeadChanged
	}
	return err
}

// add adds a batch to a new head: to its log or, if the log would become too large,
// everything to the shards. It returns the shards that it has created, and those that are
// unused once the head is written.
func (s *Store) add(ctx context.Context, n *head, b batch) (made, gone []string, err error) {
	fits := b.size() <= maxLog
	if len(b.ops) > 0 && fits {
		n.log = append(n.log[:len(n.log):len(n.log)], b)
	}
	if pending := n.pending(); fits && logSize(pending) <= maxLog {
		n.drop(maxLog)
		return nil, nil, nil
	}
	pending := n.pending()
	if !fits {
		pending = append(pending[:len(pending):len(pending)], b)
	}
	gone = s.orphans(ctx, n)
	shards, made, replaced, err := s.shardsWith(ctx, n, pending)
	if err != nil {
		return made, nil, fmt.Errorf("write shards: %w", err)
	}
	n.Shards, n.Sharded = shards, b.at
	if fits {
		n.drop(keepLog)
	} else {
		n.log, n.Since = nil, b.at
	}
	return made, append(gone, replaced...), nil
}
