package bounded

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// holdLittle limits how much the kernel buffers for a client that does not read, beyond
// what is in flight. Without it, a client that reads nothing costs megabytes.
func holdLittle(conn net.Conn) {
	if tls, is := conn.(interface{ NetConn() net.Conn }); is {
		conn = tls.NetConn()
	}
	tcp, is := conn.(syscall.Conn)
	if !is {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 128<<10) })
	}
}
