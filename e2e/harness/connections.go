package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// ConnectionsConfig says which connections are kept open, and what is sent on
// them.
type ConnectionsConfig struct {
	Address string
	// HTTP1 and HTTP2 are how many connections there are of HTTP/1.1, with one
	// request at a time, and of HTTP/2 without TLS, with several.
	HTTP1, HTTP2 int
	// Long is how many more there are of each that get answers that go on for
	// LongAnswer, one after the other: on HTTP/1.1 nothing else, on HTTP/2
	// beside the others.
	Long       int
	LongAnswer time.Duration // 0: 2 s
	// Every is the time between two requests on a connection; 0: 200 ms. The
	// requests of all connections are spread evenly over it.
	Every time.Duration
	// Once sends one request on each connection, the long one where there is
	// one, and no more.
	Once bool
	// Header is the request header to which each filter adds its name.
	Header string
}

const (
	// longPause is between two lines of a long answer.
	longPause = 200 * time.Millisecond
	// streams is how many requests may be under way on an HTTP/2 connection.
	streams = 3
)

// lines is how many a long answer has.
func (c *ConnectionsConfig) lines() int { return int(c.LongAnswer / longPause) }

// Connections are clients that each keep one connection to Envoy open, send
// requests on it at a steady rate, and write down what became of each. A client
// whose connection is closed opens another. Safe for concurrent use.
type Connections struct {
	config ConnectionsConfig
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	conns     []Connection
	exchanges []Exchange
	latest    []Exchange // by client: its newest that was answered at once
}

// Connection is one that was opened.
type Connection struct {
	Client int
	HTTP2  bool
	Opened time.Time
	// Closed is when Envoy closed it, or said that it would; zero: it did not.
	Closed time.Time
	// Why is how: "Connection: close", "GOAWAY", or an error.
	Why string
}

// Exchange is a request that was answered, or failed.
type Exchange struct {
	Client     int
	Connection int       // its number among all connections; -1: there was none
	Opened     time.Time // when the connection was
	HTTP2      bool
	Long       bool
	Began      time.Time // just before it was sent
	Answered   time.Time // when the headers of the answer were there; on failure, when that was known
	Status     int       // 0: no answer
	Chain      []string  // the filters that it met, in their order
	Upstream   string    // where it came to
	Err        error
}

func (r Exchange) String() string {
	protocol := "HTTP/1.1"
	if r.HTTP2 {
		protocol = "HTTP/2"
	}
	return fmt.Sprintf("%s–%s on connection %d (%s): %d through %q to %s %v", r.Began.Format("15:04:05.0000"), r.Answered.Format("05.0000"),
		r.Connection, protocol, r.Status, strings.Join(r.Chain, " "), r.Upstream, r.Err)
}

// OpenConnections opens them all, and sends until ctx is done or Stop is called.
func OpenConnections(ctx context.Context, config ConnectionsConfig) *Connections {
	if config.Every == 0 {
		config.Every = 200 * time.Millisecond
	}
	if config.LongAnswer == 0 {
		config.LongAnswer = 2 * time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	all := config.HTTP1 + config.HTTP2 + 2*config.Long
	c := &Connections{config: config, cancel: cancel, latest: make([]Exchange, all)}
	for i := range all {
		k := &client{all: c, number: i, http2: i%2 == 1, phase: config.Every * time.Duration(i) / time.Duration(all)}
		switch {
		case i < 2*config.Long:
			k.long = true
		case i >= 2*(config.Long+min(config.HTTP1, config.HTTP2)): // of one kind there are more
			k.http2 = config.HTTP2 > config.HTTP1
		}
		c.wg.Go(func() { k.run(ctx, &c.wg) })
	}
	return c
}

// Stop closes the connections. Requests that are under way are not counted.
func (c *Connections) Stop() {
	c.cancel()
	c.wg.Wait()
}

// Opened gives all connections there were.
func (c *Connections) Opened() []Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.conns)
}

// Exchanges gives those from the given number on, as they were answered.
func (c *Connections) Exchanges(from int) []Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.exchanges[from:])
}

// Latest gives the newest request of each client that sends any that are
// answered at once.
func (c *Connections) Latest() []Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	var latest []Exchange
	for i, r := range c.latest {
		if i%2 == 1 || i >= 2*c.config.Long {
			latest = append(latest, r)
		}
	}
	return latest
}

func (c *Connections) opened(o Connection) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, o)
	return len(c.conns) - 1
}

func (c *Connections) closed(number int, at time.Time, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[number].Closed, c.conns[number].Why = at, why
}

func (c *Connections) answered(r Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exchanges = append(c.exchanges, r)
	if !r.Long && r.Status == 200 && r.Began.After(c.latest[r.Client].Began) {
		c.latest[r.Client] = r
	}
}
