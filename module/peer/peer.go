// Package peer exchanges modules between xds-servers of one state by their
// content: if one has a module, the others don't need its origin.
//
// Start with [Client], which gets a module, and [Handler], which serves it. The
// caller's connections determine which servers may connect to each other.
// Responses are not trusted: they are hashed while they are read, and not
// stored unless they are the requested module.
package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"wasmxds/module"
)

// Folder is the path at which a [Handler] serves modules, by their SHA-256.
const Folder = "/peer/v1/modules/"

// Other is another server.
type Other struct {
	Name string
	// Ask sends it a GET request for a path. The caller must close the body.
	Ask func(ctx context.Context, path string) (*http.Response, error)
}

// Options are the options of [New]. Store and Others are required.
type Options struct {
	Store  *module.Store
	Others func() []Other // servers that are alive, in the order to try them
	Limit  int64          // maximum size of a module in bytes; default 64 MiB

	Whole    time.Duration // timeout of one request; default 1 minute
	Stall    time.Duration // timeout without progress; default 5 s
	Logger   *slog.Logger  // nil: none
	Observer module.Observer
}

// Client gets modules from other servers. It is safe for concurrent use. Use
// [New] to create one.
type Client struct {
	Options

	mu      sync.Mutex
	flights map[string]*flight // by sha256
}

// flight is a module that is being fetched.
type flight struct {
	ended chan struct{}
	err   error
	left  bool // the initiator's context ended; others must retry
}

// New returns a Client.
func New(o Options) *Client {
	o.Limit = cmp.Or(o.Limit, 64<<20)
	o.Whole = cmp.Or(o.Whole, time.Minute)
	o.Stall = cmp.Or(o.Stall, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{Options: o, flights: map[string]*flight{}}
}

// Get ensures that a module is in the Store. If no server has it, the error is
// [fs.ErrNotExist]. Concurrent calls for the same module share one request.
func (c *Client) Get(ctx context.Context, sha256 string) error {
	if !module.IsSHA256(sha256) {
		return fmt.Errorf("get module %.80q from other replicas: %w", sha256, fs.ErrNotExist)
	}
	for {
		f, first := c.join(sha256)
		if first {
			f.err = c.get(ctx, sha256)
			f.left = ctx.Err() != nil
			c.leave(sha256, f)
			return f.err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ended:
		}
		if !f.left {
			return f.err
		}
	}
}

func (c *Client) join(sha256 string) (f *flight, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[sha256]; f != nil {
		return f, false
	}
	f = &flight{ended: make(chan struct{})}
	c.flights[sha256] = f
	return f, true
}

func (c *Client) leave(sha256 string, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, sha256)
	close(f.ended)
}

// get tries one server after the other.
func (c *Client) get(ctx context.Context, sha256 string) error {
	if _, err := c.Store.Stat(sha256); err == nil {
		return nil
	}
	failed := fmt.Errorf("no other replica has module %s: %w", sha256, fs.ErrNotExist)
	for _, o := range c.Others() {
		began := time.Now()
		err := c.from(ctx, o, sha256)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if c.Observer.Fetched != nil {
			c.Observer.Fetched(module.Fetch{Scheme: "peer", URL: o.Name, SHA256: sha256, New: err == nil, Took: time.Since(began), Err: err})
		}
		if err == nil {
			c.Logger.Info("got a module from another server", "sha256", sha256, "server", o.Name, "took", time.Since(began).Round(time.Millisecond))
			return nil
		}
		failed = fmt.Errorf("get module %.12s from replica %s: %w", sha256, o.Name, err)
		c.Logger.Warn("a module did not come from another server", "sha256", sha256, "server", o.Name, "error", err)
	}
	return failed
}

// from gets a module from one server.
func (c *Client) from(ctx context.Context, o Other, sha256 string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Whole, fmt.Errorf("it took longer than %v", c.Whole))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stalled := time.AfterFunc(c.Stall, func() { stop(fmt.Errorf("nothing came for %v", c.Stall)) })
	defer stalled.Stop()
	err := c.read(ctx, o, sha256, func() { stalled.Reset(c.Stall) })
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *Client) read(ctx context.Context, o Other, sha256 string, progress func()) error {
	response, err := o.Ask(ctx, Folder+sha256)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return fs.ErrNotExist
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("it answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	case response.ContentLength > c.Limit:
		return fmt.Errorf("it would send %d bytes; the limit is %d", response.ContentLength, c.Limit)
	}
	_, err = c.Store.PutAs(sha256, &moving{response.Body, progress}, c.Limit)
	return err
}

// moving calls progress whenever bytes arrive.
type moving struct {
	io.Reader
	progress func()
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.progress()
	}
	return n, err
}
