// Package bounded serves HTTP to clients that may be many, slow or hostile: it limits the
// connections, time and headers that any of them can use.
//
// Start with [Serve].
package bounded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options configure Serve.
type Options struct {
	Connections int           // concurrent connections
	Idle        time.Duration // how long a connection may be idle
	// ConnContext is that of http.Server; nil: none.
	ConnContext func(context.Context, net.Conn) context.Context
	Log         *slog.Logger
}

// Serve serves until ctx ends. Requests in progress then have a second to end as well.
func Serve(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       o.Idle,
		MaxHeaderBytes:    64 << 10,
		WriteTimeout:      time.Minute, // modules and events extend it for each part
		ConnContext:       o.begun,
		ConnState:         atMost(o.Connections),
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	var g errgroup.Group
	g.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %v: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
		return nil
	})
	return g.Wait()
}

// begun implements http.Server.ConnContext.
func (o *Options) begun(ctx context.Context, c net.Conn) context.Context {
	holdLittle(c)
	if o.ConnContext == nil {
		return ctx
	}
	return o.ConnContext(ctx, c)
}
