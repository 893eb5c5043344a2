package exchange

import (
	"bufio"
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Server is an upstream of an Envoy, or what a filter calls.
type Server struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil: it has ended
}

// Accept has each connection to a port of loopback served until [Server.Close].
func Accept(do func(net.Conn)) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, conns: map[net.Conn]bool{}}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			s.enter(conn, do)
		}
	})
	return s, nil
}

func (s *Server) enter(conn net.Conn, do func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		conn.Close()
		return
	}
	s.conns[conn] = true
	s.wg.Go(func() {
		defer conn.Close()
		do(conn)
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	})
}

// Close ends it with all its connections.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
}

// Port is where it listens.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Serve serves HTTP/1.1 and HTTP/2: what answer gives for each request, unless it is
// nil. Answers that are still to come are given up when ctx ends.
func Serve(ctx context.Context, answer func(m Message) *Answer) (*Server, error) {
	return Accept(func(conn net.Conn) {
		r := bufio.NewReader(conn)
		// What begins as no request of HTTP/1.1 can: "PRI".
		if first, err := r.Peek(3); err != nil {
			return
		} else if string(first) != http2.ClientPreface[:3] {
			serveH1(ctx, conn, r, answer)
			return
		}
		h, err := newH2(conn, r, false)
		if err != nil {
			return // Envoy has gone
		}
		serveH2(ctx, h, answer)
	})
}

func serveH2(ctx context.Context, h *H2, answer func(m Message) *Answer) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = h.Read(func(stream uint32, m *Message, reset bool) {
		if m == nil || reset {
			return
		}
		a := answer(*m)
		if a == nil || a.Hang {
			return
		}
		wg.Go(func() {
			if !wait(ctx, a.After) {
				return
			}
			if a.Reset {
				_ = h.Reset(stream)
			} else {
				_ = h.Send(stream, a.Message)
			}
		})
	})
}

// wait says whether there was so much time.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
