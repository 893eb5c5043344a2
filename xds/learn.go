package xds

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"wasmxds/resource"
	"wasmxds/state"
)

// Where other replicas write what this one learns.
const (
	provedKeys    = "proved/"
	listenersKeys = "listeners/"
)

const learnRetry = time.Second

// learn reads what other replicas write, until ctx ends: listeners that they have sent,
// which an Envoy may bring along, and versions of filters that have run there.
func (s *Server) learn(ctx context.Context, from state.Store) {
	for ctx.Err() == nil {
		err := s.learnOnce(ctx, from)
		if ctx.Err() != nil || errors.Is(err, state.ErrCompacted) {
			continue
		}
		s.log.Error("what other servers have sent to Envoys can't be read", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(learnRetry):
		}
	}
}

func (s *Server) learnOnce(ctx context.Context, from state.Store) error {
	var at state.Revision
	for _, prefix := range []string{provedKeys, listenersKeys} { // events between the two lists are processed twice
		entries, now, err := from.List(ctx, prefix)
		if err != nil {
			return err
		}
		if at == 0 {
			at = now
		}
		for _, e := range entries {
			s.learnOf(state.Event{Entry: e})
		}
	}
	for e, err := range from.Watch(ctx, "", at) {
		if err != nil {
			return err
		}
		s.learnOf(e)
	}
	return ctx.Err()
}

// learnOf processes one entry. It ignores an invalid one, which the next process will
// report at its start.
func (s *Server) learnOf(e state.Event) {
	if version, is := strings.CutPrefix(e.Key, listenersKeys); is {
		if e.Gone {
			s.sent.gone(version)
		} else if l, used, err := decodeListener(version, e.Value); err == nil {
			s.sent.seen(version, used)
			s.interner.Learn([]*resource.Listener{l})
		}
	}
	if name, is := strings.CutPrefix(e.Key, provedKeys); is && !e.Gone {
		var list []keptVersion
		if json.Unmarshal(e.Value, &list) == nil {
			if filters, err := s.proved.decode(name, list); err == nil {
				s.proved.learn(name, filters)
			}
		}
	}
}
