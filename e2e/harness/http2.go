package harness

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	frames "golang.org/x/net/http2"
)

// http2 is an HTTP/2 connection with prior knowledge.
type http2 struct {
	*watched
	cc *http.ClientConn
}

func newHTTP2(ctx context.Context, nc net.Conn) (*http2, error) {
	w := &watched{Conn: nc, end: end{done: make(chan struct{})}}
	t := &http.Transport{
		Protocols:          new(http.Protocols),
		DisableCompression: true,
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return w, nil },
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	cc, err := t.NewClientConn(ctx, "http", nc.RemoteAddr().String())
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return &http2{w, cc}, nil
}

func (c *http2) close() { _ = c.cc.Close() }

func (c *http2) do(ctx context.Context, path string) (a answer, err error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.RemoteAddr().String()+path, nil)
	if err != nil {
		return a, err
	}
	resp, err := c.cc.RoundTrip(req)
	if err != nil && !sent.Load() {
		return a, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err != nil {
		return a, err
	}
	a = answer{at: time.Now(), status: resp.StatusCode}
	a.sent, err = reached(resp)
	return a, err
}

// watched is a connection whose end is noted: that, or a GOAWAY frame.
type watched struct {
	net.Conn
	end
	header [9]byte // of the frame under way
	have   int     // bytes of it
	rest   int     // bytes of the frame that are still to come
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		if w.rest > 0 {
			skip := min(w.rest, len(b))
			w.rest, b = w.rest-skip, b[skip:]
			continue
		}
		took := copy(w.header[w.have:], b)
		w.have, b = w.have+took, b[took:]
		if w.have < len(w.header) {
			break
		}
		w.have, w.rest = 0, int(binary.BigEndian.Uint32(w.header[:4])>>8)
		if frames.FrameType(w.header[3]) == frames.FrameGoAway {
			w.set("GOAWAY")
		}
	}
	if err != nil {
		w.set(err.Error())
	}
	return n, err
}
