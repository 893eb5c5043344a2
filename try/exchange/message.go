// Package exchange plays both sides of an Envoy on this machine: a client that sends one
// request, and upstreams that give one answer to each request, by HTTP/1.1 or, piece by
// piece, by HTTP/2. It also knows which headers Envoy adds.
//
// Start with [Request] and [Serve]. They read at most [MaxMessage] bytes of what the other
// side sends.
package exchange

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"wasmxds/module/dryrun/stream"
)

// Message is a request or a response. Pseudo headers come first.
type Message = stream.Message

// MaxMessage limits, in bytes, a body in HTTP/1.1, and everything that a connection
// receives in HTTP/2.
const MaxMessage = 32 << 20

var errTooLarge = errors.New("the message is too large")

// Answer is the answer of an upstream.
type Answer struct {
	Message
	After time.Duration
	Reset bool // the stream or connection is reset instead
	Hang  bool // there is no answer
}

// Added reports whether Envoy adds a header to messages that have left its filters.
func Added(name string) bool {
	return slices.Contains([]string{"date", "server", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms"}, name)
}

// Varies reports whether the value of a header differs each time.
func Varies(name string) bool {
	return slices.Contains([]string{"x-request-id", "x-envoy-upstream-service-time"}, name)
}

// Called returns a call of a filter without what Envoy adds to it. In gRPC, that is most of
// the headers, and the frames around messages.
func Called(m Message) Message {
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h [2]string) bool { return h[0] == ":scheme" })
	if !IsGRPC(m) {
		return m
	}
	m.Headers = slices.DeleteFunc(m.Headers, func(h [2]string) bool {
		return slices.Contains([]string{":method", ":authority", "te", "grpc-timeout", "content-type"}, h[0])
	})
	body := slices.Concat(m.Body...)
	m.Body = nil
	for len(body) >= frame {
		size := int(min(frame+int64(binary.BigEndian.Uint32(body[1:])), int64(len(body))))
		m.Body = append(m.Body, body[frame:size])
		body = body[size:]
	}
	return m
}

// IsGRPC reports whether a call uses gRPC.
func IsGRPC(m Message) bool {
	return slices.Contains(m.Headers, [2]string{"content-type", "application/grpc"})
}

// frame is the size, in bytes, of what precedes a gRPC message: a flag and the length.
const frame = 5

// Framed returns a gRPC message as it is sent.
func Framed(message []byte) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 1, frame+len(message)), uint32(len(message)))
	return append(b, message...)
}

// Value returns the first value of a header, or "" if there is none.
func Value(headers [][2]string, name string) string {
	for _, h := range headers {
		if h[0] == name {
			return h[1]
		}
	}
	return ""
}
