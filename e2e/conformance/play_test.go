package conformance

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// player is a case that is played.
type player struct {
	*Case
	upstream *server
	callouts map[string]*server // by cluster

	mu   sync.Mutex
	out  Outcome
	got  *Message // of this stream, by the upstream
	next int      // stream of which the upstream gets its request
	tcp  *peer    // the upstream's side of the newest connection
}

func newPlayer(t *testing.T, c *Case) *player {
	p := &player{Case: c, callouts: map[string]*server{}}
	if c.Network {
		p.upstream = serve(t, func(conn net.Conn) {
			peer := &peer{conn: conn}
			p.mu.Lock()
			p.tcp = peer
			p.mu.Unlock()
			peer.read()
		})
	} else {
		p.upstream = answer(t, func(m Message) *Callout {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got = &m
			return &Callout{Message: c.Streams[p.next].Response}
		})
	}
	for _, k := range c.Callouts {
		p.callouts[k.Cluster] = answer(t, func(m Message) *Callout {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.out.Called = append(p.out.Called, Called{k.Cluster, m})
			return &k
		})
	}
	return p
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

// from is a client on the internet, which Envoy is told of by the PROXY protocol.
const from = "PROXY TCP4 192.0.2.1 192.0.2.10 50000 10000\r\n"

func dial(address string) (net.Conn, error) {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_, err = conn.Write([]byte(from))
	}
	return conn, err
}

func (p *player) request(t *testing.T, address string, m Message, hangs time.Duration) {
	conn, err := dial(address)
	if err != nil {
		t.Error(err)
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	h, err := newH2(conn, true)
	if err != nil {
		t.Error(err)
		return
	}
	type end struct {
		m     *Message
		reset bool
	}
	ended := make(chan end, 10)
	wg.Go(func() {
		err := h.read(func(_ uint32, m *Message, reset bool) { ended <- end{m, reset} })
		ended <- end{nil, err != nil}
	})
	if err := h.send(1, m); err != nil {
		t.Error(err)
		return
	}
	var passed Passed
	select {
	case e := <-ended:
		passed.Client, passed.Reset = e.m, e.reset
	case <-time.After(hangs):
		if err := h.reset(1); err != nil {
			t.Error(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	passed.Upstream = p.got
	p.out.Streams = append(p.out.Streams, passed)
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
	conn, err := dial(address)
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
