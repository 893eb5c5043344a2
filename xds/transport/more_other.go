//go:build !linux

package transport

// writeMore writes b. On this system it is like any other write.
func (c *Conn) writeMore(b []byte) (int, error) { return c.Conn.Write(b) }
