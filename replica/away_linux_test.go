package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"wasmxds/rollout/driver"
	"wasmxds/rollout/roster"
)

// TestAwaySilently checks that a replica at an address where nothing answers, as on a
// machine that was switched off, is away, although a report may not take long.
func TestAwaySilently(t *testing.T) {
	_, leads, follows := pair(t)
	address := deaf(t)
	leads.Registry.Tell(func(own *Member) { own.Address = address })
	if err := errors.Join(leads.Registry.show(t.Context()), follows.Registry.look(t.Context())); err != nil {
		t.Fatal(err)
	}
	follows.Registry.leader = leader{ID: "it", Term: 7}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as the driver does
	defer cancel()
	if _, err := follows.Leader().Hear(ctx, roster.Telling{}); !errors.Is(err, driver.ErrAway) {
		t.Errorf("%v, want that it is away", err)
	}
}

// deaf returns an address at which the kernel answers no attempt to connect: the queue of
// connections to accept is full.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	for range 16 {
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("connections to a listener without a queue are still accepted")
	return ""
}
