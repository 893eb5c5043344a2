// Package transport serves gRPC streams that are many and live long: to honest
// clients quickly, to others within bounds. It knows nothing of what is said.
//
// Start with [Services], which is what to serve, by [NewGRPC] or [NewH2], on a
// [Listener].
//
// Connections are worked for few at a time, so that a fleet that comes at once
// leaves time for those that are there, and package patience bounds what is held
// for clients that do not go on. On connections of grpc-go a meter follows frames
// to know what that is; package h2 knows it.
package transport

import (
	"context"

	"google.golang.org/grpc"
)

// Services are what is served at one address.
type Services struct {
	// Streams are the methods whose streams are many, as "service/method".
	Streams map[string]Handler
	// Others adds all else, of which there is little. Its unary methods become
	// streams of one message.
	Others func(grpc.ServiceRegistrar)
}

// Handler begins a stream with the first message that came on it, which is the
// callee's only during the call. It may wait. Its error ends the stream, with its
// gRPC status.
type Handler func(st Stream, first []byte) (Receiver, error)

// Stream is a stream as its handler has it.
type Stream interface {
	// Context ends with the stream; [ConnOf] and [AddrOf] tell where it is from.
	Context() context.Context
	// Send sends a message, in parts that must not change any more. It does
	// not wait for a client that has read all but some 48 KiB. Its error says
	// that the stream has ended, which its Receiver is told as well.
	Send(parts ...[]byte) error
}

// Receiver takes what the client says on a stream.
type Receiver interface {
	// Receive takes a message, which is the callee's only during the call. Its
	// error ends the stream, with its gRPC status.
	Receive(message []byte) error
	// Ended tells, once, that the stream has ended.
	Ended()
}
