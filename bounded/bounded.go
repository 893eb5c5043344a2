// Package bounded serves HTTP to clients that may be many, slow or hostile: what
// one of them takes, of connections, time and headers, has a bound.
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

// Options are for Serve.
type Options struct {
	Connections int           // at once
	Idle        time.Duration // that one stays on which nothing is asked for
	// ConnContext is http.Server's; nil: none.
	ConnContext func(context.Context, net.Conn) context.Context
	Log         *slog.Logger
}

// Serve serves until ctx ends; requests under way then have a moment to end as
// well.
func Serve(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       o.Idle,
		MaxHeaderBytes:    64 << 10,
		WriteTimeout:      time.Minute, // modules and events have time anew for each part
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

// begun is for http.Server.ConnContext.
func (o *Options) begun(ctx context.Context, c net.Conn) context.Context {
	holdLittle(c)
	if o.ConnContext == nil {
		return ctx
	}
	return o.ConnContext(ctx, c)
}
