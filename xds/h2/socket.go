package h2

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// socket is a connection whose writes do not block: what the kernel does not accept at once
// is kept, and written by a goroutine that exists only while there is something to write.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil: the goroutine writes everything
	try func(fd uintptr) bool
	own *sync.WaitGroup // waits for the goroutine

	drained func() // called by the goroutine when it has written everything

	mu       sync.Mutex
	parts    [][]byte // arguments of try
	wrote    int      // result of try
	rest     []byte   // to be written by the goroutine
	running  chan struct{}
	err      error // of writing; permanent
	blocking bool  // see block
}

// maxRest limits what is kept, in bytes. Responses need far less; the limit is for answers
// to a peer that sends requests and does not read.
const maxRest = 256 << 10

var errBehind = errors.New("the peer asks and does not read")

func newSocket(nc net.Conn, own *sync.WaitGroup) *socket {
	s := &socket{Conn: nc, own: own}
	if c, ok := nc.(syscall.Conn); ok && canTry {
		s.raw, _ = c.SyscallConn() // nil: not available
	}
	s.try = func(fd uintptr) bool {
		s.wrote, s.err = tryWrite(fd, s.parts)
		return true
	}
	return s
}

// Write writes b, or a copy of the part that is kept.
func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	blocking, running := s.blocking, s.running
	s.mu.Unlock()
	if !blocking {
		return len(b), s.send(b)
	}
	if running != nil {
		<-running
	}
	return s.Conn.Write(b)
}

// block makes all later calls of Write block, like those of other connections.
func (s *socket) block() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocking = true
}

// send writes all parts. The caller may reuse them when it returns.
func (s *socket) send(parts ...[]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if s.running == nil && s.err == nil && s.raw != nil {
		s.parts, s.wrote = parts, 0
		if err := s.raw.Write(s.try); err != nil {
			s.err = err
		}
		n, s.parts = s.wrote, nil
	}
	if s.err != nil {
		return s.err
	}
	for _, p := range parts {
		if n >= len(p) {
			n -= len(p)
			continue
		}
		s.rest = append(s.rest, p[n:]...)
		n = 0
	}
	if len(s.rest) > maxRest {
		s.err = errBehind
		return s.err
	}
	if len(s.rest) > 0 && s.running == nil {
		s.running = make(chan struct{})
		s.own.Go(s.flush)
	}
	return nil
}

// Close prevents further writes and closes the connection.
func (s *socket) Close() error {
	s.mu.Lock()
	if s.err == nil {
		s.err = net.ErrClosed
	}
	s.mu.Unlock()
	return s.Conn.Close()
}

// behind reports whether anything is kept.
func (s *socket) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running != nil
}

// flush writes what is kept until there is nothing left.
func (s *socket) flush() {
	for {
		s.mu.Lock()
		b := s.rest
		if len(b) == 0 || s.err != nil {
			close(s.running)
			s.rest, s.running = nil, nil
			s.mu.Unlock()
			break
		}
		s.rest = nil
		s.mu.Unlock()
		if _, err := s.Conn.Write(b); err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
		}
	}
	s.drained()
}
