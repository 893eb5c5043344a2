package replay

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"wasmxds/xds/transport"
)

// Server replays a Recording. It is safe for concurrent use.
type Server struct {
	recording *Recording
	modules   net.Listener
	responses []Response

	mu      sync.Mutex
	streams map[netip.Addr]*stream // by the Envoy's address
}

// stream is one Envoy's.
type stream struct {
	grpc grpc.ServerStream

	mu                  sync.Mutex
	rest                []Response
	requests, downloads int
}

// New returns a server. It opens the port for the modules.
func New(r *Recording) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	responses, err := r.moved(l.Addr().String())
	if err != nil {
		l.Close()
		return nil, err
	}
	return &Server{recording: r, modules: l, responses: responses, streams: map[netip.Addr]*stream{}}, nil
}

// Serve answers on l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := transport.NewGRPC(nil, grpc.ForceServerCodecV2(newRaw()))
	return serve(ctx, g, s.recording.Delta, l, s.modules, s.stream, s.download)
}

func (s *Server) stream(st grpc.ServerStream) error {
	p, _ := peer.FromContext(st.Context())
	at, err := netip.ParseAddrPort(p.Addr.String())
	if err != nil {
		return err
	}
	one := &stream{grpc: st, rest: s.responses}
	s.mu.Lock()
	s.streams[at.Addr()] = one
	s.mu.Unlock()
	var m skipped
	for {
		if err := st.RecvMsg(&m); err != nil {
			return nil // the client is gone
		}
		if err := one.push(1, 0); err != nil {
			return err
		}
	}
}

// push sends what is due after more requests and downloads.
func (st *stream) push(requests, downloads int) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.requests += requests
	st.downloads += downloads
	for len(st.rest) > 0 && st.requests >= st.rest[0].Requests && st.downloads >= st.rest[0].Downloads {
		b := st.rest[0].Body
		st.rest = st.rest[1:]
		if err := st.grpc.SendMsg(b); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	b, ok := s.recording.Modules[r.URL.Path]
	if err != nil || !ok {
		http.NotFound(w, r)
		return
	}
	send(w, b)
	s.mu.Lock()
	st := s.streams[at.Addr()]
	s.mu.Unlock()
	if st != nil {
		time.AfterFunc(settle, func() { _ = st.push(0, 1) }) // a client that is gone is told of elsewhere
	}
}
