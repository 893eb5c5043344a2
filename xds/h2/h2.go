package h2

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Handler begins a stream. The connection's reader calls it, so it must not block.
type Handler func(*Stream) Receiver

// Receiver receives the messages of a client on a stream. Its methods must not block.
type Receiver interface {
	// Receive processes a message. It must not keep the slice. An error ends the stream
	// with its gRPC status. The connection's reader calls it.
	Receive(message []byte) error
	// Ended is called when the stream has ended, whoever ended it. It is called exactly
	// once for each Receiver, after the last Receive has returned or, if [Stream.End] is
	// called meanwhile, concurrently with it: on the goroutine that ended the stream, which
	// holds no lock of this package.
	Ended()
}

// Wait is a wait for a client.
type Wait interface {
	Grow(bytes int) // more bytes are held
	Done() bool     // the wait is over
}

// Options configure a Server; only Methods is required.
type Options struct {
	Methods map[string]Handler // by the path of requests
	// Other receives connections whose first request is for no such path; nil: they are
	// served, and answered with Unimplemented.
	Other func(*Handed)
	// Wait is called when the server waits for the client to complete something: its first
	// message on a stream, or the rest of a message. It may call end, concurrently with
	// anything else; nil: it is not called.
	Wait func(peer net.Addr, end func(error)) Wait
	// Credentials secure the connection; nil: plaintext.
	Credentials credentials.TransportCredentials
	Log         *slog.Logger     // nil: no logging
	Now         func() time.Time // nil: time.Now
}

// Limits of a connection's cost and duration.
const (
	maxStreams    = 16      // concurrent streams
	maxMessage    = 4 << 20 // bytes of a message, and of all incomplete ones of a connection
	maxHeaderList = 16 << 10
	maxOpening    = 32 << 10 // bytes up to and including the headers of the first request
	maxFrameSize  = 16 << 10

	openingTime = 20 * time.Second // until the first request has arrived
	pingAfter   = 30 * time.Second // without anything from the peer
	pingTime    = 20 * time.Second // until anything arrives
	idleTime    = 5 * time.Minute  // without streams
	sweepEvery  = time.Second
)

// Server serves connections.
type Server struct {
	Options
	readers, batches sync.Pool

	mu        sync.Mutex
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	draining  bool
	stopped   bool
	running   sync.WaitGroup // conns, and goroutines that they started
}

// New returns a Server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{Options: o, conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{}}
	s.readers.New = func() any { return newReader() }
	s.batches.New = func() any { return &batch{} }
	return s
}

// Serve accepts connections until the server is stopped, or l fails. After
// [Server.GracefulStop] or [Server.Stop] it returns nil once all connections have ended.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var sweeper sync.WaitGroup
	sweeper.Go(func() { s.sweepUntil(ctx) })
	err := s.accept(l)
	s.mu.Lock()
	delete(s.listeners, l)
	if s.draining {
		err = nil
	}
	s.mu.Unlock()
	if err == nil {
		s.running.Wait()
	}
	cancel()
	sweeper.Wait()
	return err
}

func (s *Server) accept(l net.Listener) error {
	pause := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		if temporary := interface{ Temporary() bool }(nil); errors.As(err, &temporary) && temporary.Temporary() {
			s.Log.Warn("accept a connection", "error", err, "again in", pause)
			time.Sleep(pause) // too many open files, for example
			pause = min(2*pause, time.Second)
			continue
		}
		if err != nil {
			return err
		}
		pause = 5 * time.Millisecond
		if c := newConn(s, nc); s.add(c) {
			go c.open()
		} else {
			nc.Close()
		}
	}
}

// add registers a connection, which must call remove at its end.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// all returns the connections. If draining is true, it first closes the listeners.
func (s *Server) all(draining, stopped bool) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining, s.stopped = s.draining || draining, s.stopped || stopped
	if s.draining {
		for l := range s.listeners {
			l.Close() // Serve reports the result
		}
	}
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// GracefulStop accepts nothing more, makes clients connect elsewhere (GOAWAY) and returns
// when their streams have ended.
func (s *Server) GracefulStop() {
	for _, c := range s.all(true, false) {
		c.drain()
	}
	s.running.Wait()
}

// Stop closes all connections, and returns when they have ended.
func (s *Server) Stop() {
	for _, c := range s.all(true, true) {
		c.close()
	}
	s.running.Wait()
}

func (s *Server) sweepUntil(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.sweep(s.Now())
		}
	}
}

// sweep closes connections that are slow to begin, dead, or idle.
func (s *Server) sweep(now time.Time) {
	for _, c := range s.all(false, false) {
		if why := c.overdue(now); why != "" {
			s.Log.Debug("connection closed", "peer", c.peer.Addr, "reason", why)
			c.close()
		}
	}
}
