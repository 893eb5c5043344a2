package serve

import (
	"context"
	"net"
	"time"
)

type connKey struct{}

// ConnContext is for http.Server.ConnContext. With it, a download is Done only
// when the client's machine has acknowledged all of it, on systems that support
// this (Linux). Without it, a download is Done when it was passed to the
// kernel.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// arrived waits until the peer has acknowledged everything that was written to
// the request's connection.
func arrived(ctx context.Context) bool {
	conn, ok := ctx.Value(connKey{}).(net.Conn)
	if !ok {
		return true
	}
	conn = underTLS(conn)
	const first, last = 200 * time.Microsecond, 20 * time.Millisecond
	deadline := time.Now().Add(stall)
	for pause := first; ; pause = min(2*pause, last) {
		n, err := unsent(conn)
		if err != nil || n == 0 {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		select {
		case <-ctx.Done():
			// A client that has received everything may close the connection at
			// once.
			n, err := unsent(conn)
			return err == nil && n == 0
		case <-time.After(pause):
		}
	}
}

func underTLS(conn net.Conn) net.Conn {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return wrapped.NetConn()
	}
	return conn
}

// acknowledged returns how many bytes the peer of the request's connection has
// acknowledged since it was opened.
func acknowledged(ctx context.Context) (int64, bool) {
	conn, ok := ctx.Value(connKey{}).(net.Conn)
	if !ok {
		return 0, false
	}
	return acked(underTLS(conn))
}
