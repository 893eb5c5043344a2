package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// client keeps one connection open.
type client struct {
	all         *Connections
	number      int
	http2, long bool
	phase       time.Duration
}

// conn is a connection of either protocol.
type conn interface {
	// do sends a request, and returns when the answer has come to its end.
	do(ctx context.Context, path string) (answer, error)
	// gone is closed when no more requests may be sent, as ended says.
	gone() <-chan struct{}
	ended() (at time.Time, why string)
	close()
}

type answer struct {
	at     time.Time // of its headers
	status int
	sent   map[string][]string // the headers with which the request arrived
}

// run opens one connection after the other. What is under way on one that Envoy
// is about to close goes on beside its successor.
func (k *client) run(ctx context.Context, wg *sync.WaitGroup) {
	for ctx.Err() == nil {
		began := time.Now()
		c, err := k.open(ctx)
		if err != nil {
			if ctx.Err() == nil {
				k.all.answered(Exchange{Client: k.number, Connection: -1, HTTP2: k.http2, Long: k.long, Began: time.Now(), Answered: time.Now(), Err: err})
			}
			pause(ctx, k.all.config.Every)
			continue
		}
		opened := Connection{Client: k.number, HTTP2: k.http2, Opened: began}
		number := k.all.opened(opened)
		var senders sync.WaitGroup
		for _, s := range k.senders() {
			senders.Go(func() { s.send(ctx, c, number, opened) })
		}
		wg.Go(func() {
			senders.Wait()
			c.close()
		})
		select {
		case <-ctx.Done():
		case <-c.gone():
			at, why := c.ended()
			k.all.closed(number, at, why)
		}
	}
}

func (k *client) open(ctx context.Context) (conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", k.all.config.Address)
	if err != nil {
		return nil, err
	}
	if k.http2 {
		return newHTTP2(ctx, nc)
	}
	return newHTTP1(nc), nil
}

// sender sends requests on a connection, one after the other.
type sender struct {
	client *client
	path   string
	long   bool
	phase  time.Duration
	every  time.Duration
}

func (k *client) senders() []sender {
	every := k.all.config.Every
	long := sender{client: k, long: true, phase: k.phase, every: time.Millisecond, path: fmt.Sprintf("/?stream=%d&pause=%s", k.all.config.lines(), longPause)}
	if k.long && (k.all.config.Once || !k.http2) {
		return []sender{long}
	}
	if k.all.config.Once || !k.http2 {
		return []sender{{client: k, phase: k.phase, every: every, path: "/"}}
	}
	var all []sender
	for i := range streams {
		all = append(all, sender{client: k, phase: k.phase + time.Duration(i)*every, every: streams * every, path: "/"})
	}
	if k.long {
		all = append(all, long)
	}
	return all
}

func (s sender) send(ctx context.Context, c conn, number int, opened Connection) {
	k := s.client
	if !pause(ctx, s.phase) {
		return
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	again := tick.C
	if k.all.config.Once {
		again = nil
	}
	for {
		select { // before the tick, which may be there as well
		case <-ctx.Done():
			return
		case <-c.gone():
			return
		default:
		}
		began := time.Now()
		a, err := c.do(ctx, s.path)
		if ctx.Err() != nil || errors.Is(err, errNotSent) {
			return
		}
		r := Exchange{Client: k.number, Connection: number, Opened: opened.Opened, HTTP2: k.http2, Long: s.long, Began: began, Answered: a.at, Status: a.status, Err: err,
			Chain: a.sent[k.all.config.Header]}
		if err != nil {
			r.Answered = time.Now()
		}
		if up := a.sent["Upstream"]; len(up) == 1 {
			r.Upstream = up[0]
		}
		if n := k.all.config.lines(); err == nil && s.long && len(a.sent["Line"]) != n {
			r.Err = fmt.Errorf("%d of the answer's %d lines", len(a.sent["Line"]), n)
		}
		k.all.answered(r)
		select {
		case <-ctx.Done():
			return
		case <-c.gone():
			return
		case <-again:
		}
	}
}

// pause returns after d, and whether ctx has not ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

var (
	errClosed = errors.New("the connection was closed before the answer")
	// errNotSent is of a request that the connection did not take any more.
	errNotSent = errors.New("not sent")
)
