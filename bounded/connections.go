package bounded

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// connections limits the number of concurrent connections fairly. If there are too many, it
// closes one of the address with the most connections: the one that has been idle for
// longest, or else the one that has been active for longest.
type connections struct {
	limit int

	mu    sync.Mutex
	open  map[net.Conn]*connection
	peers map[netip.Addr]*connectionsOf
}

// connectionsOf contains the connections of one address. Each list is in order of time.
type connectionsOf struct {
	address     netip.Addr
	quiet, busy list.List // of net.Conn
}

type connection struct {
	of *connectionsOf
	in *list.List
	at *list.Element
}

func atMost(limit int) func(net.Conn, http.ConnState) {
	c := &connections{limit: limit, open: map[net.Conn]*connection{}, peers: map[netip.Addr]*connectionsOf{}}
	return c.changed
}

// changed implements http.Server.ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.add(conn)
		if len(c.open) > c.limit {
			worst := c.worst()
			c.remove(worst)
			worst.Close()
		}
	case http.StateActive, http.StateIdle:
		at := c.open[conn]
		if at == nil {
			return // it was closed
		}
		at.in.Remove(at.at)
		at.in = &at.of.busy
		if state == http.StateIdle {
			at.in = &at.of.quiet
		}
		at.at = at.in.PushBack(conn)
	case http.StateClosed, http.StateHijacked:
		c.remove(conn)
	}
}

func (c *connections) add(conn net.Conn) {
	var address netip.Addr
	if tcp, is := conn.RemoteAddr().(*net.TCPAddr); is {
		address = tcp.AddrPort().Addr().Unmap()
	}
	of := c.peers[address]
	if of == nil {
		of = &connectionsOf{address: address}
		c.peers[address] = of
	}
	c.open[conn] = &connection{of, &of.quiet, of.quiet.PushBack(conn)}
}

func (c *connections) remove(conn net.Conn) {
	at := c.open[conn]
	if at == nil {
		return
	}
	delete(c.open, conn)
	at.in.Remove(at.at)
	if at.of.number() == 0 {
		delete(c.peers, at.of.address)
	}
}

func (of *connectionsOf) number() int { return of.quiet.Len() + of.busy.Len() }

// worst returns the connection to close.
func (c *connections) worst() net.Conn {
	var most *connectionsOf
	for _, of := range c.peers {
		if most == nil || of.number() > most.number() {
			most = of
		}
	}
	if at := most.quiet.Front(); at != nil {
		return at.Value.(net.Conn)
	}
	return most.busy.Front().Value.(net.Conn)
}
