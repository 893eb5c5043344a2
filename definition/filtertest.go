package definition

import "time"

// FilterTest describes what a filter must do with given requests.
type FilterTest struct {
	Name   string // "": none
	Filter string // the name of the filter
	Pos    Position
	Cases  []TestCase
}

// TestCase is a request and its expected outcome. Each case has a VM of its
// own.
type TestCase struct {
	Name   string
	Before []TestStream // requests that the same VM has handled before
	TestStream
	Expect Expectation
}

// TestStream is a request and what the host provides to the filter while it
// handles the request.
type TestStream struct {
	At                Expected    // where it is written, which is not told of requests of flags
	Request, Response TestMessage // Response: the upstream's answer
	// Connection, if it is there, comes instead of a request: of a network filter.
	Connection *TestConnection `json:",omitempty"`
	// After passes before the request or connection comes, and Wait after it has ended:
	// timers go off meanwhile.
	After, Wait time.Duration `json:",omitempty"`
	Callouts    map[string]TestCallout
	// Properties are those that do not follow from the request itself, by their
	// dotted paths. Values are string, bool, int64, float64, or a map of these.
	Properties map[string]any
}

// TestMessage is a request or a response.
type TestMessage struct {
	Headers  [][2]string // including pseudo-headers
	Body     [][]byte    // in the chunks in which it arrives
	Trailers [][2]string
}

// TestConnection is a TCP connection, with what each side sends.
type TestConnection struct {
	Data   []TestData // in this order
	Closes string     // who closes it: downstream, upstream, or reset
}

// TestData is a chunk of bytes that one side sends.
type TestData struct {
	Upstream bool
	Data     []byte
}

// TestCallout is a cluster's answer to a callout.
type TestCallout struct {
	Status      int // HTTP status; 0: the callout is gRPC
	Headers     [][2]string
	Body        []byte
	GRPCStatus  *int
	GRPCMessage string
	Fails       bool // there is no answer
	After       time.Duration
}

// Expectation is the expected outcome of a case. Fields that are nil or empty
// are not checked.
type Expectation struct {
	Request    *ExpectedMessage // as the upstream receives it
	Response   *ExpectedMessage // as the client receives it
	LocalReply *ExpectedMessage
	Connection *ExpectedConnection
	// Continues is whether the request must reach the upstream in full.
	Continues   *bool
	ContinuesAt Expected
	Logs        []ExpectedText   // each must be in some line of the log
	Metrics     []ExpectedMetric // after the request
	Calls       []ExpectedCall   // callouts that must be made, in this order; nil: any
}

// ExpectedMessage describes what a message must contain.
type ExpectedMessage struct {
	Status   *ExpectedText // of a response
	Headers  []ExpectedHeader
	Body     *ExpectedText
	Trailers []ExpectedHeader
	At       Expected
}

// ExpectedConnection describes what must come of a connection.
type ExpectedConnection struct {
	Upstream, Downstream *ExpectedText // what each side receives
	Closed               *bool         // whether the filter closes it
	ClosedAt             Expected
}

// Expected is the position of a case or of one of its expectations.
type Expected struct {
	Pos   Position
	Field string // path in the document
}

// ExpectedText is a text that a value must equal or, if Part is set, contain.
type ExpectedText struct {
	Text string
	Part bool
	At   Expected
}

// ExpectedHeader describes the expected values of a header.
type ExpectedHeader struct {
	Name   string
	Values []string // values of all headers of that name, in order; empty: the header must be absent
	Part   *string  // text that one of the values must contain instead
	At     Expected
}

// ExpectedMetric is the value that a counter or gauge must have.
type ExpectedMetric struct {
	Name  string
	Value int64
	At    Expected
}

// ExpectedCall is a callout that must be made.
type ExpectedCall struct {
	Cluster string
	ExpectedMessage
}
