//go:build !unix

package transport

// ready is nothing here: each connection keeps its read buffer.
type ready struct{}

// unread is not known here.
func (c *Conn) unread() bool { return false }
