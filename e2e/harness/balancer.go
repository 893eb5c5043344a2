package harness

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Balancer passes the TCP connections of one address on to several targets, as a Service
// of Kubernetes does: each to another, in turn or at random.
type Balancer struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	rand     *rand.Rand // nil: in turn
	targets  []string
	next     int
	conns    map[net.Conn]struct{}
	came     map[string]int // connections, by the IP address of who came
	refused  int            // of them: no target took them
	isClosed bool
}

// dialTime is how long a target may take to be connected to.
const dialTime = 5 * time.Second

// StartBalancer returns a Balancer that listens; with atRandom nil it takes the targets in
// turn.
func StartBalancer(atRandom *rand.Rand, targets ...string) (*Balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Balancer{listener: l, rand: atRandom, targets: targets, conns: map[net.Conn]struct{}{}, came: map[string]int{}}
	b.wg.Go(b.accept)
	return b, nil
}

// Address is host:port.
func (b *Balancer) Address() string { return b.listener.Addr().String() }

// Targets passes connections that come from now on to these.
func (b *Balancer) Targets(addresses ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets = addresses
}

// Came is how many connections came from each IP address, and how many of all no target
// took.
func (b *Balancer) Came() (from map[string]int, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.came), b.refused
}

// Close cuts every connection and ends the balancer.
func (b *Balancer) Close() error {
	err := b.listener.Close()
	b.mu.Lock()
	b.isClosed = true
	for c := range b.conns {
		_ = c.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
	return err
}

func (b *Balancer) accept() {
	for {
		from, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			b.wg.Go(func() { b.pass(from) })
		}
	}
}

// pick gives the targets, the one that is to be tried first before the others.
func (b *Balancer) pick(from net.Conn) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	host, _, _ := net.SplitHostPort(from.RemoteAddr().String()) // it is one of TCP
	b.came[host]++
	n := len(b.targets)
	if n == 0 {
		return nil
	}
	first := b.next % n
	if b.next++; b.rand != nil {
		first = b.rand.IntN(n)
	}
	return append(append([]string{}, b.targets[first:]...), b.targets[:first]...)
}

func (b *Balancer) pass(from net.Conn) {
	defer from.Close()
	var to net.Conn
	for _, target := range b.pick(from) {
		var err error
		if to, err = net.DialTimeout("tcp", target, dialTime); err == nil {
			break
		}
	}
	if to == nil {
		b.mu.Lock()
		b.refused++
		b.mu.Unlock()
		return
	}
	defer to.Close()
	if !b.add(from, to) {
		return
	}
	defer b.remove(from, to)
	b.wg.Go(func() {
		_, _ = io.Copy(to, from) // until one side ends
		_ = to.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(from, to)
}

func (b *Balancer) add(conns ...net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		b.conns[c] = struct{}{}
	}
	return !b.isClosed
}

func (b *Balancer) remove(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		delete(b.conns, c)
	}
}
