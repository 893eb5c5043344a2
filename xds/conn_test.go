package xds

import (
	"io"
	"net"
	"testing"
	"time"
)

// atDoor connects n clients to a listener with few places, lets each say a
// byte, and gives the connections here, each of which is read by a goroutine
// of its own; inside is told of those that have come through.
func atDoor(t *testing.T, places, n int, limit time.Duration) (conns []*conn, inside chan *conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	doored := &listener{l, &door{make(chan struct{}, places), limit}}
	t.Cleanup(func() { l.Close() })
	inside = make(chan *conn, n)
	for range n {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if _, err := client.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		c, err := doored.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns = append(conns, c.(*conn))
		read := make(chan struct{})
		t.Cleanup(func() { c.Close(); <-read })
		go func() {
			defer close(read)
			if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
				inside <- c.(*conn)
			}
		}()
	}
	return conns, inside
}

// come takes n that have come through, and no more may have.
func come(t *testing.T, inside chan *conn, n int) []*conn {
	t.Helper()
	var in []*conn
	for len(in) < n {
		select {
		case c := <-inside:
			in = append(in, c)
		case <-time.After(10 * time.Second):
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

func TestDoorLetsFewIn(t *testing.T) {
	t.Parallel()
	_, inside := atDoor(t, 2, 6, time.Hour)
	in := come(t, inside, 2)
	in[0].passed() // its first RPC has come
	in[0].passed() // and the next: nothing more
	in = append(in[1:], come(t, inside, 1)...)
	for _, c := range in { // ends instead
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	come(t, inside, 2)
}

func TestDoorDoesNotWaitForTheSlow(t *testing.T) {
	t.Parallel()
	_, inside := atDoor(t, 1, 5, 10*time.Millisecond)
	for range 5 {
		select {
		case <-inside:
		case <-time.After(10 * time.Second):
			t.Fatal("one that does nothing keeps the others out")
		}
	}
}

func TestClosedAtTheDoor(t *testing.T) {
	t.Parallel()
	conns, inside := atDoor(t, 1, 3, time.Hour)
	in := come(t, inside, 1)
	for _, c := range conns {
		if c != in[0] {
			c.Close() // while it waits
		}
	}
	in[0].passed()
	come(t, inside, 0)
	if n := len(in[0].door.places); n != 0 {
		t.Errorf("%d places are taken by nobody", n)
	}
}
