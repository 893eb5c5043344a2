// Package stream passes an HTTP request and its response, or the bytes of a TCP connection,
// through one Wasm filter by the rules of Envoy's filter chain: when each callback is
// called and with what, what the filter can access meanwhile, what it holds up, and what
// leaves it.
//
// [HTTP] is the state machine of one request. It knows Envoy's rules but not Wasm: the
// module is a [VM]. Package dryrun makes it call real modules.
package stream

import "time"

// Stream is what goes through a filter: one HTTP request with the response of the upstream,
// or one TCP connection.
type Stream struct {
	Request Message
	// Connection, if set, replaces the request.
	Connection *Connection
	// Response is the response of the upstream; zero: 200 without a body.
	Response Message
	// Protocol is the protocol of both sides, HTTP/1.1 or HTTP/2. The default is HTTP/1.1,
	// or HTTP/2 if there are trailers, because Envoy drops those from HTTP/1.1 by default.
	Protocol string
	// Properties are properties that an Envoy would have in addition to those of the stream
	// itself, or instead of them. The keys are paths such as source.address. The values are
	// strings, numbers (an int or int64, as most are in Envoy, a uint64 or a float64),
	// bools, bytes, or maps of those.
	Properties map[string]any
	// Callouts are the answers to calls of the filter, by cluster. A cluster that is not in
	// it does not exist.
	Callouts map[string]Callout
	// After is how long to wait before the stream begins, and Wait after it has ended, in
	// the module's time.
	After, Wait time.Duration
}

const (
	HTTP1 = "HTTP/1.1"
	HTTP2 = "HTTP/2"
)

// Message is a request or a response. Its headers include the pseudo headers. Its body
// arrives in these pieces.
type Message struct {
	Headers  [][2]string
	Body     [][]byte
	Trailers [][2]string
}

// Callout is the answer to an HTTP or gRPC call.
type Callout struct {
	Status      int // default 200
	Headers     [][2]string
	Body        []byte   // for gRPC: a message
	Messages    [][]byte // for a gRPC stream: the messages after Body
	Trailers    [][2]string
	GRPCStatus  *int // default OK
	GRPCMessage string
	Fails       bool          // the cluster is not reachable
	BreaksOff   bool          // the connection ends before the whole answer has arrived
	After       time.Duration // how long it takes; the call times out if this exceeds its timeout
}

// Result is the outcome of a stream.
type Result struct {
	// Received is the request as the filter gets it, with what Envoy adds before its
	// filters. Answered is the response of the upstream, likewise.
	Received Message
	Answered *Message
	// Request and Response are what leaves the filter, towards the upstream and the client;
	// nil: nothing left. Sent and Complete report whether all of it did.
	Request, Response *Message
	Sent, Complete    bool
	Connection        *Connection // what leaves a network filter, to the upstream and to the client
	LocalReply        *LocalReply // the response of the filter, or of Envoy on its behalf
	Paused            string      // "request headers", …: where it stopped, and nothing continued it
	Reset             string      // why the stream was reset
	Crash             string      // the reason of a trap, or which limit was exceeded: time, memory or host calls
	Record
}

// Record is what the module did meanwhile.
type Record struct {
	Callbacks []Callback
	Logs      []Line
	Calls     []Call
	// Missing is what the filter asked for that only an Envoy has and the stream does not
	// set.
	Missing []string
}

// LocalReply is a response that did not come from the upstream.
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
	Action       string // the action that it returned: continue, pause, …; "" if it returns none
	Duration     time.Duration
	Instructions uint64 // if they are counted
	MemoryAfter  uint64 // bytes of the module's memory
}

// Line is a log line of the module.
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
	Answer   string // "200", "no such cluster", "timed out", …; "" if there is none yet
}

// Metric is a metric that the module has defined, with its final value.
type Metric struct {
	Name  string
	Type  string // counter, gauge, histogram
	Value uint64 // for a histogram: the last value
}
