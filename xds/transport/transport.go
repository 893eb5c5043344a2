// Package transport serves large numbers of long-lived gRPC streams: quickly for honest
// clients, and within limits for others. It knows nothing about their content.
//
// Start with [Services], which describes what to serve, with [NewGRPC] or [NewH2], on a
// [Listener].
//
// Only a few connections are set up at a time, so that a fleet that connects at once leaves
// time for connected clients. Package patience limits what is held for clients that do not
// continue. On connections of grpc-go a meter follows frames to know how much that is;
// package h2 knows it itself.
package transport

import (
	"context"

	"google.golang.org/grpc"
)

// Services are the services at one address.
type Services struct {
	// Streams are the methods with large numbers of streams, as "service/method".
	Streams map[string]Handler
	// Others registers all other services, which are used rarely. Their unary methods
	// become streams with one message.
	Others func(grpc.ServiceRegistrar)
}

// Handler takes the first message of a stream. It must not keep the slice, nor block: the
// message is freed when it returns. An error ends the stream, with its gRPC status.
type Handler func(st Stream, first []byte) (Begin, error)

// Begin begins the stream. It is called once, without the first message, and may block. Its
// error ends the stream, with its gRPC status.
type Begin func() (Receiver, error)

// Stream is a stream, as its handler uses it.
type Stream interface {
	// Context ends with the stream; [ConnOf] and [AddrOf] return where the stream comes
	// from.
	Context() context.Context
	// Send sends a message, in parts that must not change any more. It does not block if
	// the client has read all but about 48 KiB. An error means that the stream has ended,
	// which its Receiver learns as well.
	Send(parts ...[]byte) error
}

// Receiver receives the client's messages on a stream.
type Receiver interface {
	// Receive processes a message. It must not keep the slice. Its error ends the stream,
	// with its gRPC status.
	Receive(message []byte) error
	// Ended is called once, when the stream has ended.
	Ended()
}
