//go:build !unix

package transport

// ready is nothing here: each connection keeps its read buffer.
type ready struct{}
