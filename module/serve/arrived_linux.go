package serve

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent returns how many bytes of a connection the peer has not acknowledged
// (SIOCOUTQ, tcp(7)).
func unsent(conn net.Conn) (n int, err error) {
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return 0, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	if control := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); control != nil {
		return 0, control
	}
	return n, err
}

// acked returns how many bytes of a connection the peer has acknowledged
// (TCP_INFO).
func acked(conn net.Conn) (n int64, ok bool) {
	tcp, is := conn.(syscall.Conn)
	if !is {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if ok = err == nil; ok {
			n = int64(info.Bytes_acked)
		}
	})
	return n, ok && err == nil
}
