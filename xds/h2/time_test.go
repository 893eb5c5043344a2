package h2_test

import (
	"net"
	"testing"
	"time"

	"wasmxds/xds/h2"
)

// TestSlowToBegin checks that a connection has twenty seconds to send its first request.
func TestSlowToBegin(t *testing.T) {
	for name, begin := range map[string]func(s *scene) *wire{
		"nothing said":  func(s *scene) *wire { return s.bare() },
		"settings only": func(s *scene) *wire { return s.wire() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			s := start(t, h2.Options{Now: c.Now})
			w := begin(s)
			if _, err := w.ReadFrame(); err != nil { // the server's settings: it has the connection
				t.Fatal(err)
			}
			c.advance(19 * time.Second)
			s.Sweep()
			late := s.bare()
			late.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			for {
				if _, err := late.ReadFrame(); err != nil { // only settings arrive
					if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
						t.Fatal(err)
					}
					break
				}
			}
			c.advance(time.Second)
			s.Sweep()
			w.expect("closed")
		})
	}
}

// TestPing checks that a silent client gets a ping, and is closed if it stays silent.
func TestPing(t *testing.T) {
	const ping = "PING false \x00\x00\x00\x00\x00\x00\x00"
	c := newClock()
	s := start(t, h2.Options{Now: c.Now})
	w := s.wire()
	w.open(1)
	w.say(1, []byte("one"))
	w.expect(begins, dataOf)
	for range 3 {
		c.advance(30 * time.Second)
		s.Sweep()
		w.expect(ping)
		c.advance(19 * time.Second)
		s.Sweep()
		w.ok(w.WritePing(true, [8]byte{}))
		w.say(1, []byte("one"))
		w.expect(dataOf)
		s.Sweep() // sees that it has sent something
	}
	c.advance(30 * time.Second)
	s.Sweep()
	w.expect(ping)
	c.advance(20 * time.Second)
	s.Sweep()
	w.expect("closed")
	wait(t, s.ended)
}

// TestIdle checks that a connection without streams is closed after five minutes.
func TestIdle(t *testing.T) {
	c := newClock()
	s := start(t, h2.Options{Now: c.Now})
	w := s.wire()
	w.request(1, true, usual...)
	w.expect(begins + " grpc-status=0 END")
	c.advance(5*time.Minute - time.Second)
	w.ok(w.WritePing(false, [8]byte{}))
	w.expect("PING true…")
	s.Sweep()
	c.advance(time.Second)
	s.Sweep()
	w.expect("GOAWAY 1 NO_ERROR", "closed")
}
