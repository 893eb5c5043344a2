package harness

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on to one address, and cuts or delays them when
// it is told to.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]struct{}
	there  time.Duration
	back   time.Duration
	held   chan struct{} // closed when Hold ends; nil: nothing is held
	down   bool
}

// StartProxy returns a proxy that listens. Its target may be "" until Target
// is called; connections are closed at once while it is.
func StartProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Address is host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Target passes connections that come from now on to another address.
func (p *Proxy) Target(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = address
}

// Delay holds what goes to the target, and what comes back from it, each for
// so long, from now on.
func (p *Proxy) Delay(there, back time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.there, p.back = there, back
}

// Hold passes nothing on to the target from now on, until Down. What comes back does.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// Cut closes every connection that is open.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Down cuts every connection and has new ones closed at once, until Up.
func (p *Proxy) Down() {
	p.mu.Lock()
	p.down = true
	held := p.held
	p.held = nil
	p.mu.Unlock()
	p.Cut()
	if held != nil {
		close(held)
	}
}

// Up ends Down.
func (p *Proxy) Up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// Close cuts every connection and ends the proxy.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.Down()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.wg.Go(func() { p.pass(from) })
	}
}

func (p *Proxy) pass(from net.Conn) {
	defer from.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	if !p.add(from, to) {
		return
	}
	defer p.remove(from, to)
	p.wg.Go(func() {
		p.copy(to, from, &p.there)
		_ = to.(*net.TCPConn).CloseWrite()
	})
	p.copy(from, to, &p.back)
}

// copy passes bytes on until one side ends, each after the delay.
func (p *Proxy) copy(to io.Writer, from io.Reader, delay *time.Duration) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		d, held := *delay, p.held
		p.mu.Unlock()
		time.Sleep(d) // the delay is what this is for
		if held != nil && delay == &p.there {
			<-held
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// add notes the connections, unless the proxy is down.
func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if !p.down {
			p.conns[c] = struct{}{}
		}
	}
	return !p.down
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}
