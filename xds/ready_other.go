//go:build !unix

package xds

// ready is nothing here: each connection keeps its read buffer.
type ready struct{}
