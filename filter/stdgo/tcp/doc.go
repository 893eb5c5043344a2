// Package tcp exports the callbacks of TCP connections, for network filters.
// See package stdgo.
package tcp
