package conformance

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"wasmxds/try/exchange"
)

// player is a case that is played.
type player struct {
	*Case
	upstream *exchange.Server
	callouts map[string]*exchange.Server // by cluster

	mu   sync.Mutex
	out  Outcome
	got  *Message // of this stream, by the upstream
	next int      // stream of which the upstream gets its request
	tcp  *peer    // the upstream's side of the newest connection
}

func newPlayer(t *testing.T, c *Case) *player {
	p := &player{Case: c, callouts: map[string]*exchange.Server{}}
	if c.Network {
		p.upstream = served(t)(exchange.Accept(func(conn net.Conn) {
			peer := &peer{conn: conn}
			p.mu.Lock()
			p.tcp = peer
			p.mu.Unlock()
			peer.read()
		}))
	} else {
		p.upstream = served(t)(exchange.Serve(t.Context(), func(m exchange.Message) *exchange.Answer {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got = (*Message)(&m)
			return &exchange.Answer{Message: exchange.Message(c.Streams[p.next].Response)}
		}))
	}
	for _, k := range c.Callouts {
		p.callouts[k.Cluster] = served(t)(exchange.Serve(t.Context(), func(m exchange.Message) *exchange.Answer {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.out.Called = append(p.out.Called, Called{k.Cluster, Message(m)})
			return &exchange.Answer{Message: exchange.Message(k.Message), After: k.After, Reset: k.Reset, Hang: k.Hang}
		}))
	}
	return p
}

// served has a server end with the test.
func served(t *testing.T) func(*exchange.Server, error) *exchange.Server {
	return func(s *exchange.Server, err error) *exchange.Server {
		t.Helper()
		must(t, err)
		t.Cleanup(s.Close)
		return s
	}
}

// play sends all that goes through the filter to its listener. hangs is how
// long nothing has to come for it to be nothing.
func (p *player) play(t *testing.T, address string, hangs time.Duration) {
	for i, s := range p.Streams {
		if i > 0 && p.Policy == "fail_reload" {
			time.Sleep(50 * time.Millisecond) // more than Envoy takes to make a new VM
		}
		p.mu.Lock()
		p.got, p.next, p.tcp = nil, i, nil
		p.mu.Unlock()
		if p.Network {
			p.connection(t, address, s.Connection)
		} else {
			p.request(t, address, s.Request, hangs)
		}
	}
}

// from is a client on the internet.
const from = "192.0.2.1:50000"

func (p *player) request(t *testing.T, address string, m Message, hangs time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	got, err := exchange.Request(ctx, address, from, exchange.Message(m), true)
	if err != nil {
		t.Error(err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Streams = append(p.out.Streams, Passed{Client: (*Message)(got.Message), Reset: got.Reset, Upstream: p.got})
}

// peer is one side of a connection.
type peer struct {
	conn net.Conn

	mu     sync.Mutex
	got    bytes.Buffer
	closed bool
}

func (p *peer) read() {
	b := make([]byte, 65536)
	for {
		n, err := p.conn.Read(b)
		p.mu.Lock()
		p.got.Write(b[:n])
		p.closed = err != nil
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *peer) state() (got []byte, closed bool) {
	if p == nil {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.got.Bytes()), p.closed
}

// quiet is how long a connection is left alone after something was sent that
// nobody got.
const quiet = 150 * time.Millisecond

func (p *player) connection(t *testing.T, address string, actions []Action) {
	conn, err := exchange.Dial(t.Context(), address, from)
	if err != nil {
		t.Error(err)
		return
	}
	client := &peer{conn: conn}
	var wg sync.WaitGroup
	wg.Go(client.read)
	defer wg.Wait()
	defer conn.Close()
	p.settled(client)
	for _, a := range actions {
		to := client
		if a.Upstream {
			p.mu.Lock()
			to = p.tcp
			p.mu.Unlock()
		}
		if to == nil {
			continue // there is no connection to the upstream
		}
		if a.Close {
			_ = to.conn.(*net.TCPConn).CloseWrite() // may be closed by Envoy
		} else {
			_, _ = to.conn.Write(a.Data)
		}
		p.settled(client)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	passed := Passed{Network: true}
	passed.ToClient, passed.ClientClosed = client.state()
	passed.ToUpstream, passed.UpstreamClosed = p.tcp.state()
	p.out.Streams = append(p.out.Streams, passed)
}

// settled waits until nothing has come on either side for a while.
func (p *player) settled(client *peer) {
	last, since := -1, time.Now()
	for time.Since(since) < quiet {
		p.mu.Lock()
		upstream := p.tcp
		p.mu.Unlock()
		a, _ := client.state()
		b, _ := upstream.state()
		if n := len(a) + len(b); n != last {
			last, since = n, time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
}
