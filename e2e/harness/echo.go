package harness

import (
	"io"
	"net"
	"sync"
)

// Echo sends back what it gets on its connections.
type Echo struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil: it has ended
}

// StartEcho returns an Echo that listens.
func StartEcho() (*Echo, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &Echo{listener: l, conns: map[net.Conn]bool{}}
	e.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			e.wg.Go(func() { e.serve(conn) })
		}
	})
	return e, nil
}

// Address is host:port.
func (e *Echo) Address() string { return e.listener.Addr().String() }

// Close ends it, with all its connections.
func (e *Echo) Close() error {
	err := e.listener.Close()
	e.mu.Lock()
	for conn := range e.conns {
		conn.Close()
	}
	e.conns = nil
	e.mu.Unlock()
	e.wg.Wait()
	return err
}

func (e *Echo) serve(conn net.Conn) {
	defer conn.Close()
	e.mu.Lock()
	if e.conns != nil {
		e.conns[conn] = true
	}
	ended := e.conns == nil
	e.mu.Unlock()
	if ended {
		return
	}
	_, _ = io.Copy(conn, conn) // its peer sees how it ends
	e.mu.Lock()
	delete(e.conns, conn)
	e.mu.Unlock()
}
