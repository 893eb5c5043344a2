package conformance

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// server is an upstream of one case, or what it calls.
type server struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil: it has ended
}

// serve has each connection served until the test ends.
func serve(t *testing.T, do func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{listener: l, conns: map[net.Conn]bool{}}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			s.mu.Lock()
			if s.conns == nil {
				conn.Close()
			} else {
				s.conns[conn] = true
				s.wg.Go(func() {
					defer conn.Close()
					do(conn)
				})
			}
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for conn := range s.conns {
			conn.Close()
		}
		s.conns = nil
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *server) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// answer serves HTTP/2: what answer gives for each request, unless it is nil.
func answer(t *testing.T, got func(m Message) (answer *Callout)) *server {
	ctx := t.Context()
	return serve(t, func(conn net.Conn) {
		h, err := newH2(conn, false)
		if err != nil {
			return // Envoy has gone
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		_ = h.read(func(stream uint32, m *Message, reset bool) {
			if m == nil || reset {
				return
			}
			a := got(*m)
			if a == nil || a.Hang {
				return
			}
			wg.Go(func() {
				select {
				case <-ctx.Done():
					return
				case <-time.After(a.After):
				}
				if a.Reset {
					_ = h.reset(stream)
				} else {
					_ = h.send(stream, a.Message)
				}
			})
		})
	})
}
