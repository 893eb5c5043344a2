// Package peer has xds-servers of one state give each other modules, by their content:
// what one has, the others need no origin for.
//
// Start with [Client], which gets a module, and [Handler], which gives it. Who may ask,
// and who is asked, is for the connections to say that they are given. Nothing of what
// comes is believed: it is hashed while it is read, and what is not the module that
// was asked for is not kept.
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

// Folder is where a [Handler] has modules, by their SHA-256.
const Folder = "/peer/v1/modules/"

// Other is another server.
type Other struct {
	Name string
	// Ask sends it a GET for a path. Who asks closes the body.
	Ask func(ctx context.Context, path string) (*http.Response, error)
}

// Options are for [New]; Store and Others must be given.
type Options struct {
	Store  *module.Store
	Others func() []Other // those that live, in the order to ask them
	Limit  int64          // bytes of a module; default 64 MiB

	Whole    time.Duration // that one server may take for a module; default 1 minute
	Stall    time.Duration // without a byte of it; default 5 s
	Logger   *slog.Logger  // nil: none
	Observer module.Observer
}

// Client gets modules. It is safe for concurrent use; make one by [New].
type Client struct {
	Options

	mu      sync.Mutex
	flights map[string]*flight // by sha256
}

// flight is a module that is being got.
type flight struct {
	ended chan struct{}
	err   error
	left  bool // who made it had no time left; the others go on
}

// New makes a Client.
func New(o Options) *Client {
	o.Limit = cmp.Or(o.Limit, 64<<20)
	o.Whole = cmp.Or(o.Whole, time.Minute)
	o.Stall = cmp.Or(o.Stall, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{Options: o, flights: map[string]*flight{}}
}

// Get sees to it that a module is in the Store. Where no server has it, the error is
// [fs.ErrNotExist]. Who asks for one that is on its way already waits for that.
func (c *Client) Get(ctx context.Context, sha256 string) error {
	if !module.IsSHA256(sha256) {
		return fmt.Errorf("get module %.80q from other servers: %w", sha256, fs.ErrNotExist)
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

// get asks one server after the other.
func (c *Client) get(ctx context.Context, sha256 string) error {
	if _, err := c.Store.Stat(sha256); err == nil {
		return nil
	}
	failed := fmt.Errorf("no other server has module %s: %w", sha256, fs.ErrNotExist)
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
		failed = fmt.Errorf("get module %.12s from the server %s: %w", sha256, o.Name, err)
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
		return fmt.Errorf("it would send %d bytes, more than %d", response.ContentLength, c.Limit)
	}
	_, err = c.Store.PutAs(sha256, &moving{response.Body, progress}, c.Limit)
	return err
}

// moving tells of each byte that comes.
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
