//go:build unix

package transport

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/mem"
)

// unread reports whether the client has sent something that was not read yet.
func (c *Conn) unread() bool {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	there := false
	err = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		there = n > 0 && err == nil
	})
	return there && err == nil
}

// ready reads without holding a buffer while there is nothing to read. Its fields avoid an
// allocation for each read.
type ready struct {
	raw  syscall.RawConn
	read func(fd uintptr) bool

	size int
	pool mem.BufferPool
	buf  *[]byte
	n    int
	err  error
}

// ReadOnReady is a method that grpc looks for in a connection that isn't a plain
// *net.TCPConn. With it, an idle connection has no read buffer.
func (c *Conn) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	r := &c.ready
	if r.read == nil {
		tcp, ok := c.Conn.(*net.TCPConn)
		if !ok {
			buf := pool.Get(size)
			n, err := c.Read(*buf)
			return buf, n, err
		}
		var err error
		if r.raw, err = tcp.SyscallConn(); err != nil {
			return nil, 0, err
		}
		r.read = r.try
	}
	c.yield()
	r.size, r.pool = size, pool
	err := r.raw.Read(r.read)
	buf, n := r.buf, r.n
	if err == nil {
		err = r.err
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	r.pool, r.buf, r.n, r.err = nil, nil, 0, nil
	if err == nil {
		err = c.took((*buf)[:n])
	}
	if err != nil {
		if buf != nil {
			pool.Put(buf)
		}
		return nil, 0, err
	}
	return buf, n, nil
}

// try reports whether there was something to read, or never will be.
func (r *ready) try(fd uintptr) bool {
	r.buf = r.pool.Get(r.size)
	for {
		if r.n, r.err = syscall.Read(int(fd), *r.buf); !errors.Is(r.err, syscall.EINTR) {
			break
		}
	}
	if r.err == nil {
		return true
	}
	r.pool.Put(r.buf)
	r.buf, r.n = nil, 0
	return !errors.Is(r.err, syscall.EAGAIN)
}
