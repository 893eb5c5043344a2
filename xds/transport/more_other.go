//go:build !linux

package transport

// writeMore is a write like others here.
func (c *Conn) writeMore(b []byte) (int, error) { return c.Conn.Write(b) }
