package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"wasmxds/rollout"
)

// Limits of the event streams.
const (
	maxEventStreams = 100
	eventInterval   = 300 * time.Millisecond // minimum interval between events
	eventKeepAlive  = 15 * time.Second
)

// serveEvents signals to a page when to reload: by server-sent events named
// "change", until the client disconnects or the server drains.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	select {
	case s.eventStreams <- struct{}{}:
		defer func() { <-s.eventStreams }()
	default:
		answer(w, http.StatusServiceUnavailable, "too many pages are open")
		return
	}
	secure(w.Header())
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	send := func(text string) error {
		rc.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprint(w, text); err != nil {
			return err
		}
		return rc.Flush()
	}
	if err := send("retry: 2000\n\n"); err != nil {
		return
	}
	look, alive := time.NewTicker(eventInterval), time.NewTicker(eventKeepAlive)
	defer look.Stop()
	defer alive.Stop()
	var shown uint64 // 0: the page may be older than this stream
	for {
		text := ""
		if d := s.overview().digest ^ s.moved.digest(r.Context(), s.moving); d != shown {
			text, shown = fmt.Sprintf("event: change\ndata: %x\n\n", d), d
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.drained:
			return
		case <-alive.C:
			text += "event: alive\ndata:\n\n"
		case <-look.C:
		}
		if text != "" {
			if err := send(text); err != nil {
				return
			}
		}
	}
}

// moved caches a hash of the status of changes, for at most a second.
type moved struct {
	seed maphash.Seed
	mu   sync.Mutex
	last uint64
	next time.Time // when to compute it again
}

func (m *moved) digest(ctx context.Context, moving func(context.Context) (rollout.Status, error)) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); !now.Before(m.next) {
		m.next = now.Add(time.Second)
		st, err := moving(ctx)
		if b, failed := json.Marshal(st); err == nil && failed == nil { // otherwise, there is nothing new to show
			m.last = maphash.Bytes(m.seed, b)
		}
	}
	return m.last
}
