package definition

import (
	"cmp"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

const testKind = "FilterTest"

// filterTest is a document of kind FilterTest.
type filterTest struct {
	Kind   string     `json:"kind" jsonschema:"required,enum=FilterTest"`
	Name   string     `json:"name,omitempty" jsonschema:"maxLength=253" jsonschema_description:"Name of the tests, for people."`
	Filter string     `json:"filter" jsonschema:"required,maxLength=253" jsonschema_description:"Name of the filter that they are for. Several FilterTests may be for one: all must pass."`
	Cases  []testCase `json:"cases" jsonschema:"required,minItems=1,maxItems=1000" jsonschema_description:"Each begins with a new VM, configured as the filter is."`
}

type testCase struct {
	Name   string       `json:"name" jsonschema:"required,minLength=1,maxLength=253" jsonschema_description:"What the filter does in this case; unique in the document."`
	Before []testStream `json:"before,omitempty" jsonschema:"maxItems=100" jsonschema_description:"Requests that the same VM has before, each written as the case is, without name and expect."`
	testStream
	Expect *testExpect `json:"expect,omitempty" jsonschema_description:"What must come out. Whatever it says, a case fails when the filter crashes or takes too long."`
}

type testStream struct {
	After      string                    `json:"after,omitempty" jsonschema_description:"Time that passes before it comes, as 10s: timers of the filter go off, and what they call answers. Nothing waits for it: tests have a clock of their own. Default: none."`
	Wait       string                    `json:"wait,omitempty" jsonschema_description:"Time that passes after it has ended, before what is expected is compared, written as after is."`
	Connection *testConnection           `json:"connection,omitempty" jsonschema_description:"Of a network filter: a TCP connection, in place of request and response."`
	Request    *testRequest              `json:"request,omitempty" jsonschema_description:"What the client sends. Default: GET /."`
	Response   *testResponse             `json:"response,omitempty" jsonschema_description:"What the upstream answers. Default: 200 without a body."`
	Callouts   map[string]testCallout    `json:"callouts,omitempty" jsonschema_description:"What clusters answer when the filter calls them, by their names. Others are unknown to it, as a cluster is that Envoy does not have."`
	Properties map[string]*document.Node `json:"properties,omitempty" jsonschema_description:"Properties besides those that the request gives, by their paths with dots, as source.address: text, numbers, booleans, or mappings of these."`
}

type testRequest struct {
	Method   string         `json:"method,omitempty" jsonschema:"maxLength=64" jsonschema_description:"Default: GET, or POST where there is a body."`
	Path     string         `json:"path,omitempty" jsonschema:"maxLength=65536" jsonschema_description:"With its query. Default: /."`
	Headers  *document.Node `json:"headers,omitempty" jsonschema_description:"Each a text, or a list of texts where it comes more than once. host is :authority; default: localhost."`
	Body     *document.Node `json:"body,omitempty" jsonschema_description:"A text, a list of texts (the pieces in which it comes), or base64: and what it is in base64."`
	Trailers *document.Node `json:"trailers,omitempty" jsonschema_description:"Written as headers are."`
}

type testResponse struct {
	Status   *int           `json:"status,omitempty" jsonschema:"minimum=200,maximum=599" jsonschema_description:"Default: 200."`
	Headers  *document.Node `json:"headers,omitempty" jsonschema_description:"Written as those of a request."`
	Body     *document.Node `json:"body,omitempty" jsonschema_description:"Written as that of a request."`
	Trailers *document.Node `json:"trailers,omitempty" jsonschema_description:"Written as headers are."`
}

type testConnection struct {
	Data   []testData `json:"data,omitempty" jsonschema:"maxItems=1000" jsonschema_description:"What each side sends, in this order."`
	Closes string     `json:"closes,omitempty" jsonschema:"enum=downstream,enum=upstream,enum=reset" jsonschema_description:"Who closes it, when all has been sent: downstream (the client has no more to send), upstream, or reset (the client is gone). Default: downstream."`
}

type testData struct {
	Downstream *document.Node `json:"downstream,omitempty" jsonschema_description:"What the client sends: a text, or base64: and what it is in base64."`
	Upstream   *document.Node `json:"upstream,omitempty" jsonschema_description:"What the upstream sends, written the same way."`
}

type testCallout struct {
	Status      *int           `json:"status,omitempty" jsonschema:"minimum=200,maximum=599" jsonschema_description:"Of an answer by HTTP. Default: 200."`
	Headers     *document.Node `json:"headers,omitempty" jsonschema_description:"Written as those of a request."`
	Body        *document.Node `json:"body,omitempty" jsonschema_description:"A text, or base64: and what it is in base64."`
	GRPCStatus  *int           `json:"grpcStatus,omitempty" jsonschema:"minimum=0,maximum=16" jsonschema_description:"Of an answer by gRPC, whose message is the body."`
	GRPCMessage string         `json:"grpcMessage,omitempty" jsonschema:"maxLength=4096" jsonschema_description:"What goes with grpcStatus."`
	Fails       bool           `json:"fails,omitempty" jsonschema_description:"Nothing answers: the filter is told that the callout has failed."`
	After       string         `json:"after,omitempty" jsonschema_description:"When it answers, as 50ms. A callout whose time-out is shorter fails. Default: at once."`
}

type testExpect struct {
	Request    *expectedRequest    `json:"request,omitempty" jsonschema_description:"The request as the upstream gets it."`
	Response   *expectedResponse   `json:"response,omitempty" jsonschema_description:"The response as the client gets it, whoever made it."`
	LocalReply *expectedResponse   `json:"localReply,omitempty" jsonschema_description:"The response that the filter itself gives. The empty mapping: any."`
	Connection *expectedConnection `json:"connection,omitempty" jsonschema_description:"What comes of a connection."`
	Continues  *bool               `json:"continues,omitempty" jsonschema_description:"Whether the request reaches the upstream, whole; of a connection, whether the filter neither holds up nor closes it."`
	Logs       []string            `json:"logs,omitempty" jsonschema:"maxItems=100" jsonschema_description:"Texts, each of which some line of the filter's log has in it."`
	Metrics    map[string]int64    `json:"metrics,omitempty" jsonschema_description:"Values of counters and gauges when the request has ended, by their names."`
	Calls      []expectedCall      `json:"calls,omitempty" jsonschema:"maxItems=100" jsonschema_description:"Callouts that the filter makes, all of them, in this order: the cluster of each, and what is sent, written as the expected request is. The empty list: none."`
}

type expectedRequest struct {
	Method   string         `json:"method,omitempty" jsonschema:"maxLength=64" jsonschema_description:"Its method."`
	Path     string         `json:"path,omitempty" jsonschema:"maxLength=65536" jsonschema_description:"Its path with its query."`
	Headers  *document.Node `json:"headers,omitempty" jsonschema_description:"Each a text that it must be; a list of texts where it comes more than once; null where it must not be there; or contains: and a text that it must have in it. Of other headers nothing is expected."`
	Body     *document.Node `json:"body,omitempty" jsonschema_description:"The text that it must be; contains: and a text that it must have in it; or base64: and what it must be in base64."`
	Trailers *document.Node `json:"trailers,omitempty" jsonschema_description:"Written as headers are."`
}

type expectedResponse struct {
	Status   *int           `json:"status,omitempty" jsonschema:"minimum=100,maximum=599" jsonschema_description:"Its status."`
	Headers  *document.Node `json:"headers,omitempty" jsonschema_description:"Written as those of the expected request."`
	Body     *document.Node `json:"body,omitempty" jsonschema_description:"Written as that of the expected request."`
	Trailers *document.Node `json:"trailers,omitempty" jsonschema_description:"Written as headers are."`
}

type expectedConnection struct {
	Upstream   *document.Node `json:"upstream,omitempty" jsonschema_description:"What the upstream receives, in all: a text; contains: and a text that is in it; or base64: and what it is in base64."`
	Downstream *document.Node `json:"downstream,omitempty" jsonschema_description:"What the client receives, written the same way."`
	Closed     *bool          `json:"closed,omitempty" jsonschema_description:"Whether the filter closes the connection."`
}

type expectedCall struct {
	Cluster string `json:"cluster" jsonschema:"required,maxLength=253" jsonschema_description:"The cluster that is called."`
	expectedRequest
}

// Bounds of a FilterTest, in addition to those of a file.
const (
	maxCases    = 1000
	maxBefore   = 100
	maxData     = 1000
	maxExpected = 100
)

func readFilterTest(d *Doc) {
	if cases := d.root.Get("cases"); cases != nil && len(cases.Items) > maxCases {
		d.Problem("cases", "write several FilterTests, or fewer cases", "%d cases, %d at most", len(cases.Items), maxCases)
		return
	}
	var w filterTest
	ok := d.Decode(&w)
	before := len(d.problems)
	t := &FilterTest{Name: w.Name, Filter: w.Filter, Pos: d.Pos()}
	d.name("name", w.Name)
	d.name("filter", w.Filter)
	if len(w.Cases) == 0 && d.root.Get("cases") != nil && ok {
		d.Problem("cases", "", "is empty, needs a case")
	}
	names := map[string]bool{}
	for i, c := range w.Cases {
		if len(d.problems)-before > document.MaxProblems {
			return
		}
		at := document.Index("cases", i)
		if c.Name != "" && names[c.Name] {
			d.Problem(at+".name", "", "%q is listed twice", c.Name)
		}
		names[c.Name] = true
		t.Cases = append(t.Cases, d.testCase(at, c))
	}
	if ok && len(d.problems) == before {
		d.addTest(t)
	}
}

func (d *Doc) testCase(at string, c testCase) TestCase {
	made := TestCase{Name: c.Name, TestStream: d.testStream(at, c.testStream)}
	if len(c.Name) > 253 {
		d.Problem(at+".name", "", "%d bytes, 253 at most", len(c.Name))
	}
	if n := len(c.Before); n > maxBefore {
		d.Problem(at+".before", "", "%d requests, %d at most", n, maxBefore)
		c.Before = nil
	}
	for i, b := range c.Before {
		made.Before = append(made.Before, d.testStream(document.Index(at+".before", i), b))
	}
	if c.Expect != nil {
		made.Expect = d.expectation(at+".expect", c.Expect)
		d.fits(at+".expect", c.Expect, made.Connection != nil)
	}
	return made
}

func (d *Doc) addTest(t *FilterTest) {
	t.Filter = d.scope.name(t.Filter)
	d.file.Tests = append(d.file.Tests, t)
	d.file.origins[t] = origin{root: d.root, object: d.object, item: d.item}
}

// testHole reads which filter a FilterTest with errors may be for.
func (d *Doc) testHole(h *Hole) {
	h.Kind, h.Attach = testKind, Attach{}
	h.Tests = d.scope.name(document.TextOf(d.root.Get("filter")))
}

// TestsOf returns the tests of a filter.
func (s *Set) TestsOf(filter string) []*FilterTest {
	from, _ := slices.BinarySearchFunc(s.Tests, filter, func(t *FilterTest, name string) int { return strings.Compare(t.Filter, name) })
	to := from
	for to < len(s.Tests) && s.Tests[to].Filter == filter {
		to++
	}
	return s.Tests[from:to:to]
}

func orderOfTests(a, b *FilterTest) int {
	return cmp.Or(strings.Compare(a.Filter, b.Filter), strings.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line))
}
