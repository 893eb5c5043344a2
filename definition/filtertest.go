package definition

import "time"

// FilterTest says what a filter must do with certain requests.
type FilterTest struct {
	Name   string // "": it has none
	Filter string // the name of the filter
	Pos    Position
	Cases  []TestCase
}

// TestCase is a request and what is expected of it. Each case has a VM for itself.
type TestCase struct {
	Name   string
	At     Expected
	Before []TestStream // requests that the same VM has had before
	TestStream
	Expect Expectation
}

// TestStream is a request and what the filter is told while it has it.
type TestStream struct {
	Request, Response TestMessage // Response: what the upstream answers
	Callouts          map[string]TestCallout
	// Properties are those that the request does not give by itself, by their paths
	// with dots: string, bool, int64, float64, or a map of these.
	Properties map[string]any
}

// TestMessage is a request or a response.
type TestMessage struct {
	Headers  [][2]string // pseudo headers are among them
	Body     [][]byte    // in the pieces in which it comes
	Trailers [][2]string
}

// TestCallout is what a cluster answers to a callout.
type TestCallout struct {
	Status      int // of HTTP; 0: it is gRPC alone
	Headers     [][2]string
	Body        []byte
	GRPCStatus  *int
	GRPCMessage string
	Fails       bool // nothing answers
	After       time.Duration
}

// Expectation is what must be so. Of what is nil or empty nothing is expected.
type Expectation struct {
	Request    *ExpectedMessage // as the upstream gets it
	Response   *ExpectedMessage // as the client gets it
	LocalReply *ExpectedMessage
	// Continues says whether the request reaches the upstream, whole.
	Continues   *bool
	ContinuesAt Expected
	Logs        []ExpectedText   // each is in some line of the log
	Metrics     []ExpectedMetric // after the request
	Calls       []ExpectedCall   // callouts that are made, in this order; nil: any
}

// ExpectedMessage is what a message must have.
type ExpectedMessage struct {
	Status   *ExpectedText // of a response
	Headers  []ExpectedHeader
	Body     *ExpectedText
	Trailers []ExpectedHeader
	At       Expected
}

// Expected is where a case is, or something that it expects.
type Expected struct {
	Pos   Position
	Field string // in the document
}

// ExpectedText is a text that something must be or, with Part, have.
type ExpectedText struct {
	Text string
	Part bool
	At   Expected
}

// ExpectedHeader is what a header must be.
type ExpectedHeader struct {
	Name   string
	Values []string // of each header of that name, in their order; none: there is no such header
	Part   *string  // what one of them must have instead
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
