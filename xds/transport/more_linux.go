package transport

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// writeMore writes b, which ends within a frame. The kernel may delay it until the rest of
// the frame is written: grpc writes one buffer at a time, and each would otherwise be sent,
// and wake the client, separately.
func (c *Conn) writeMore(b []byte) (n int, err error) {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return c.Conn.Write(b)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	ended := raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var m int
			m, err = unix.SendmsgN(int(fd), b[n:], nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			switch {
			case err == nil:
				n += m
			case errors.Is(err, unix.EAGAIN):
				err = nil
				return false // call again when there is room
			case !errors.Is(err, unix.EINTR):
				return true
			}
		}
		return true
	})
	return n, errors.Join(ended, err)
}
