// Package stream lets an HTTP request and its response, or the bytes of a TCP
// connection, go through one Wasm filter the way Envoy's filter chain does: when
// which callback is called with what, what the filter can reach meanwhile, what
// it holds up, and what comes out behind it.
//
// [HTTP] is the machine of one request. It knows Envoy's rules and no Wasm: the
// module is a [VM] to it. Package dryrun has it call real modules.
package stream

import "time"

// Stream is what goes through a filter: one HTTP request and what the upstream
// answers, or one TCP connection.
type Stream struct {
	Request Message
	// Connection, where it is there, goes through in place of a request.
	Connection *Connection
	// Response is what the upstream answers; zero: 200 without a body.
	Response Message
	// Protocol is what both sides speak: HTTP/1.1 or HTTP/2. The default is
	// HTTP/1.1, and HTTP/2 where there are trailers, which Envoy drops from
	// HTTP/1.1 by default.
	Protocol string
	// Properties are what an Envoy would tell of the stream beyond the stream itself,
	// or otherwise: by paths as source.address, with a string, a number (an int or
	// int64, as Envoy has most; uint64, float64), a bool, bytes, or a map of those.
	Properties map[string]any
	// Callouts are the answers to the calls that the filter makes, by cluster. A
	// cluster that is not there is one that Envoy doesn't know.
	Callouts map[string]Callout
	// After passes before it comes, and Wait after it has ended, in the module's time.
	After, Wait time.Duration
}

const (
	HTTP1 = "HTTP/1.1"
	HTTP2 = "HTTP/2"
)

// Message is a request or a response. Pseudo headers are among its headers; its
// body comes in these pieces.
type Message struct {
	Headers  [][2]string
	Body     [][]byte
	Trailers [][2]string
}

// Callout is the answer to an HTTP or gRPC call.
type Callout struct {
	Status      int // default 200
	Headers     [][2]string
	Body        []byte   // of gRPC: a message
	Messages    [][]byte // of a gRPC stream: those behind it
	Trailers    [][2]string
	GRPCStatus  *int // default OK
	GRPCMessage string
	Fails       bool          // the cluster can't be reached
	BreaksOff   bool          // before all of the answer has come
	After       time.Duration // how long it takes: more than the call's time-out is too long
}

// Result is what became of a stream.
type Result struct {
	// Received is the request as the filter gets it: with what Envoy adds before
	// its filters. Answered is the upstream's response, the same way.
	Received Message
	Answered *Message
	// Request and Response are what leaves the filter, towards the upstream and
	// the client; nil: it never left. Sent and Complete say whether all of it did.
	Request, Response *Message
	Sent, Complete    bool
	Connection        *Connection // what leaves a network filter: to the upstream, and to the client
	LocalReply        *LocalReply // what the filter, or Envoy for it, answered
	Paused            string      // "request headers", …: where it stopped, and nothing continued it
	Reset             string      // why the stream was cut off
	Crash             string      // trap, or limit of time, memory or host calls: the reason
	Record
}

// Record is what happened meanwhile.
type Record struct {
	Callbacks []Callback
	Logs      []Line
	Calls     []Call
	// Missing is what the filter asked for that only an Envoy has, and that the
	// stream doesn't give.
	Missing []string
}

// LocalReply is a response that no upstream gave.
type LocalReply struct {
	Status     int
	Details    string // response code details, as in access logs
	Headers    [][2]string
	Body       []byte
	GRPCStatus *int
}

// Callback is one call of the module.
type Callback struct {
	Name         string
	Action       string // what it answered: continue, pause, …; "" where it answers nothing
	Duration     time.Duration
	Instructions uint64 // where they are counted
	MemoryAfter  uint64 // bytes of the module's memory
}

// Line is what the module logged.
type Line struct {
	Level string
	Text  string
}

// Call is a callout that the module made.
type Call struct {
	Kind     string // http, grpc, grpc stream
	Cluster  string
	Headers  [][2]string
	Body     []byte
	Trailers [][2]string
	Timeout  time.Duration
	Answer   string // "200", "no such cluster", "timed out", …; "" while there is none
}

// Metric is one that the module defined, in the end.
type Metric struct {
	Name  string
	Type  string // counter, gauge, histogram
	Value uint64 // of a histogram: the last
}
