package serve

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// closed reports whether the peer has closed a connection, without reading from
// it.
func closed(conn net.Conn) (is bool) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, err := unix.Poll(ready, 0)
		is = err == nil && ready[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLRDHUP) != 0
	})
	return is || err != nil
}
