package harness

import (
	"errors"
	"net"
	"net/http"
)

// site is an HTTP server on loopback.
type site struct {
	server *http.Server
	addr   string
	done   chan struct{}
}

func serve(h http.Handler) (*site, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &site{server: &http.Server{Handler: h}, addr: l.Addr().String(), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // loopback's Accept does not fail
		}
	}()
	return s, nil
}

func (s *site) close() error {
	err := s.server.Close()
	<-s.done
	return err
}
