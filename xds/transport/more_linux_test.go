package transport

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"wasmxds/xds/patience"
)

// written returns a connection that grpc would write to, and its client.
func written(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := &Conn{Conn: nc, closed: make(chan struct{})}
	c.listener = &Listener{messages: patience.New(1<<20, time.Hour), accepting: newAcceptLimiter(), log: slog.New(slog.DiscardHandler)}
	c.meter = newMeter(c)
	t.Cleanup(func() { client.Close(); c.Close() })
	return c, client
}

// framesOf returns the DATA frames of a message of the given size.
func framesOf(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	message := make([]byte, size)
	for i := range message {
		message[i] = byte(rand.Uint32())
	}
	for len(message) > 0 {
		n := min(len(message), 16<<10)
		if err := f.WriteData(1, false, message[:n]); err != nil {
			t.Fatal(err)
		}
		message = message[n:]
	}
	return b.Bytes()
}

// segments returns how many TCP segments with data the kernel has sent.
func segments(t *testing.T, c *Conn) (n uint32) {
	t.Helper()
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
			return
		}
		n = info.Data_segs_out
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFramesGoTogether checks that a write that ends within a frame waits for the rest, and
// one that ends with a frame does not.
func TestFramesGoTogether(t *testing.T) {
	c, client := written(t)
	for _, size := range []int{50_000, 2*writeBuffer - 9, 100} {
		frames := framesOf(t, size)
		before := segments(t, c)
		for b := frames; len(b) > 0; {
			n := min(len(b), writeBuffer)
			if _, err := c.Write(b[:n]); err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
		if n := segments(t, c) - before; n > 2 {
			t.Errorf("%d bytes went in %d segments", len(frames), n)
		}
		got := make([]byte, len(frames))
		if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, frames) {
			t.Errorf("%d bytes came otherwise than they were sent (%v)", len(frames), err)
		}
	}
}

// TestFramesWaitForRoom checks that what doesn't fit into the kernel's buffer is written
// later, completely and in order, and no more when the client is gone.
func TestFramesWaitForRoom(t *testing.T) {
	c, client := written(t)
	frames := framesOf(t, 20<<20)
	ended := make(chan error, 1)
	go func() {
		for b := frames; len(b) > 0; {
			n := min(len(b), writeBuffer)
			if _, err := c.Write(b[:n]); err != nil {
				ended <- err
				return
			}
			b = b[n:]
		}
		ended <- nil
	}()
	got := make([]byte, len(frames))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, frames) {
		t.Errorf("it came otherwise than it was sent (%v)", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	client.Close()
	for end := time.Now().Add(time.Minute); ; {
		if _, err := c.Write(frames[:100]); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("writes to a client that is gone do not fail")
		}
	}
}
