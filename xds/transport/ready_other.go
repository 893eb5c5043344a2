//go:build !unix

package transport

// ready does nothing on this system: each connection keeps its read buffer.
type ready struct{}

// unread always returns false on this system.
func (c *Conn) unread() bool { return false }
