package h2

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// socket is a connection whose writes do not wait: what the kernel does not take
// at once is kept, and written by a goroutine that lives only while there is
// something.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil: all is written by the goroutine
	try func(fd uintptr) bool
	own *sync.WaitGroup // of the goroutine

	drained func() // called by the goroutine when it has written all

	mu       sync.Mutex
	parts    [][]byte // for try
	wrote    int      // by try
	rest     []byte   // for the goroutine
	running  chan struct{}
	err      error // of writing; it stays
	blocking bool  // see block
}

// maxRest bounds what is kept. What is sent of responses is far less; the rest
// is for answers to a peer that asks and does not read.
const maxRest = 256 << 10

var errBehind = errors.New("the peer asks and does not read")

func newSocket(nc net.Conn, own *sync.WaitGroup) *socket {
	s := &socket{Conn: nc, own: own}
	if c, ok := nc.(syscall.Conn); ok && canTry {
		s.raw, _ = c.SyscallConn() // nil: it can't be had
	}
	s.try = func(fd uintptr) bool {
		s.wrote, s.err = tryWrite(fd, s.parts)
		return true
	}
	return s
}

// Write copies what it keeps.
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

// block makes Write wait as other connections do, from now on.
func (s *socket) block() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocking = true
}

// send writes all parts. They are the caller's again when it returns.
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

// Close lets nothing more be written.
func (s *socket) Close() error {
	s.mu.Lock()
	if s.err == nil {
		s.err = net.ErrClosed
	}
	s.mu.Unlock()
	return s.Conn.Close()
}

// behind tells whether something is kept.
func (s *socket) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running != nil
}

// flush writes what is kept until nothing is.
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
