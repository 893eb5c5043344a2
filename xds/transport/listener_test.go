package transport

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"wasmxds/xds/patience"
)

// listenerOf returns a listener with the given limits.
func listenerOf(t *testing.T, connections, turns int, grace time.Duration) *Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &Listener{
		Listener: l, limit: int64(connections), log: slog.New(slog.DiscardHandler), messages: newMessages(),
		accepting: &acceptLimiter{newTurns(turns), patience.New(1<<20, grace)},
	}
}

// enter connects a client that sends a byte, and returns both ends. It sends the server's
// end to read once the byte has been read.
func (l *Listener) enter(t *testing.T, read chan<- *Conn) (client net.Conn, c *Conn) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if _, err := client.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c = accepted.(*Conn)
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
			read <- c
		}
	}()
	return client, c
}

// come receives n connections whose byte was read, and fails if there are more.
func come(t *testing.T, inside chan *Conn, n int) []*Conn {
	t.Helper()
	var in []*Conn
	for len(in) < n {
		select {
		case c := <-inside:
			in = append(in, c)
		case <-time.After(time.Minute):
			t.Fatalf("%d came through, want %d", len(in), n)
		}
	}
	select {
	case <-inside:
		t.Fatalf("more than %d came through", n)
	case <-time.After(50 * time.Millisecond):
	}
	return in
}

// TestFewAreWorkedForAtOnce checks that few connections have a turn at once, until they are
// established or wait for their clients.
func TestFewAreWorkedForAtOnce(t *testing.T) {
	t.Parallel()
	l := listenerOf(t, 100, 2, time.Hour)
	inside := make(chan *Conn, 6)
	for range 6 {
		l.enter(t, inside)
	}
	in := come(t, inside, 2)
	in[0].passed() // its first RPC has arrived
	in[0].passed() // and the next, which changes nothing
	in = append(in[1:], come(t, inside, 1)...)
	for _, c := range in { // end instead
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	in = come(t, inside, 2)
	go in[0].Read(make([]byte, 1)) // waits for its client, which sends nothing
	come(t, inside, 1)
}

// TestWhoLeavesTakesNoTurn checks that a connection that is closed while it waits takes no
// turn.
func TestWhoLeavesTakesNoTurn(t *testing.T) {
	t.Parallel()
	l := listenerOf(t, 100, 1, time.Hour)
	inside := make(chan *Conn, 3)
	var conns []*Conn
	for range 3 {
		_, c := l.enter(t, inside)
		conns = append(conns, c)
	}
	in := come(t, inside, 1)
	for _, c := range conns {
		if c != in[0] {
			c.Close() // while it waits
		}
	}
	in[0].passed()
	come(t, inside, 0)
	l.accepting.turns.mu.Lock()
	defer l.accepting.turns.mu.Unlock()
	if l.accepting.turns.free != 1 || len(l.accepting.turns.waiting) > 0 {
		t.Errorf("%d turns are free, %d wait", l.accepting.turns.free, len(l.accepting.turns.waiting))
	}
}

// TestBeyondTheLimitTheMostSilentGoes checks that, above the limit, the connection that has
// kept the server waiting longest is closed, or the newest if none has.
func TestBeyondTheLimitTheMostSilentGoes(t *testing.T) {
	t.Parallel()
	const grace = 50 * time.Millisecond
	l := listenerOf(t, 2, 10, grace)
	inside := make(chan *Conn, 10)
	first, c := l.enter(t, inside)
	come(t, inside, 1)
	c.yield() // it waits for its client, which sends nothing
	_, second := l.enter(t, inside)
	come(t, inside, 1)
	second.passed()
	second.proven()
	_, third := l.enter(t, inside)
	if err := first.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the one that says nothing stays")
	}
	come(t, inside, 1)
	third.passed()
	third.proven()
	refused, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	go l.Accept() // closes it, and waits for the next
	if err := refused.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("there is room for a third")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("a third is left waiting")
	}
	if n := l.open.Load(); n != 2 {
		t.Errorf("%d connections count", n)
	}
}
