// Package exchange is both ends of an Envoy on this machine: a client that sends one
// request, and upstreams that give one answer to each, in HTTP/1.1 and in HTTP/2 piece
// by piece. It also knows which headers are Envoy's own.
//
// Start with [Request] and [Serve]. What the other side sends is read up to [MaxMessage].
package exchange

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"wasmxds/module/dryrun/stream"
)

// Message is a request or a response: pseudo headers first.
type Message = stream.Message

// MaxMessage is how many bytes of a body are read.
const MaxMessage = 32 << 20

var errTooLarge = errors.New("the message is too large")

// Answer is what an upstream answers.
type Answer struct {
	Message
	After time.Duration
	Reset bool // the stream, or the connection, is cut off instead
	Hang  bool // nothing comes
}

// Added says whether a header is one that Envoy adds to a message that has left its
// filters.
func Added(name string) bool {
	return slices.Contains([]string{"date", "server", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms"}, name)
}

// Varies says whether the value of a header is another one each time.
func Varies(name string) bool {
	return slices.Contains([]string{"x-request-id", "x-envoy-upstream-service-time"}, name)
}

// Called is a call without what Envoy adds to it: it makes the frames of gRPC, and with
// them most headers.
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

// IsGRPC says whether a call is one by gRPC.
func IsGRPC(m Message) bool {
	return slices.Contains(m.Headers, [2]string{"content-type", "application/grpc"})
}

// frame is how many bytes stand before a message of gRPC: a flag, and its length.
const frame = 5

// Framed is a message of gRPC as it is sent.
func Framed(message []byte) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 1, frame+len(message)), uint32(len(message)))
	return append(b, message...)
}

// Value is the first value of a header; "": there is none.
func Value(headers [][2]string, name string) string {
	for _, h := range headers {
		if h[0] == name {
			return h[1]
		}
	}
	return ""
}
