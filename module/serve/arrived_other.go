//go:build !linux

package serve

import "net"

// unsent returns 0, since this system can't tell.
func unsent(net.Conn) (int, error) { return 0, nil }

func acked(net.Conn) (int64, bool) { return 0, false }
