package definition

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"wasmxds/definition/internal/document"
)

// maxAfter bounds the time that a callout takes, or that passes. Nothing waits that long: tests
// have a clock of their own.
const maxAfter = time.Hour

func (d *Doc) testStream(at string, s testStream) TestStream {
	made := TestStream{
		At:      d.expected(at),
		Request: d.testRequest(at+".request", s.Request), Response: d.testResponse(at+".response", s.Response),
		Connection: d.testConnection(at, s), After: d.passing(at+".after", s.After), Wait: d.passing(at+".wait", s.Wait),
	}
	for _, cluster := range slices.Sorted(maps.Keys(s.Callouts)) {
		if made.Callouts == nil {
			made.Callouts = map[string]TestCallout{}
		}
		made.Callouts[cluster] = d.testCallout(document.Join(at+".callouts", cluster), s.Callouts[cluster])
	}
	for _, path := range slices.Sorted(maps.Keys(s.Properties)) {
		if made.Properties == nil {
			made.Properties = map[string]any{}
		}
		made.Properties[path] = d.property(document.Join(at+".properties", path), s.Properties[path])
	}
	return made
}

func (d *Doc) testRequest(at string, r *testRequest) TestMessage {
	if r == nil {
		r = &testRequest{}
	}
	m := TestMessage{Body: d.testBody(at+".body", r.Body), Trailers: d.testHeaders(at+".trailers", r.Trailers, nil)}
	host := "localhost"
	headers := d.testHeaders(at+".headers", r.Headers, &host)
	method, path := r.Method, r.Path
	if method == "" {
		method = "GET"
		if len(m.Body) > 0 {
			method = "POST"
		}
	}
	if path == "" {
		path = "/"
	}
	if !httpguts.ValidHeaderFieldName(method) || len(method) > 64 {
		d.Problem(at+".method", "", "%.60q is not a method", method)
	}
	if strings.ContainsAny(path, " \x00\r\n") || path[0] != '/' && path != "*" {
		d.Problem(at+".path", "", "%.60q is not a path: it begins with / and has no spaces", path)
	}
	m.Headers = append([][2]string{{":method", method}, {":path", path}, {":scheme", "http"}, {":authority", host}}, headers...)
	return m
}

func (d *Doc) testResponse(at string, r *testResponse) TestMessage {
	if r == nil {
		return TestMessage{}
	}
	m := TestMessage{Body: d.testBody(at+".body", r.Body), Trailers: d.testHeaders(at+".trailers", r.Trailers, nil)}
	status := strconv.Itoa(d.answer(at+".status", r.Status))
	m.Headers = append([][2]string{{":status", status}}, d.testHeaders(at+".headers", r.Headers, nil)...)
	return m
}

// answer returns the status of what a server answers.
func (d *Doc) answer(at string, n *int) int {
	if n == nil {
		return 200
	}
	if *n >= 100 && *n < 200 {
		d.Problem(at, "200 to 599, for the response that follows", "%d is not the status of a final response", *n)
		return *n
	}
	return d.status(at, n)
}

func (d *Doc) status(at string, n *int) int {
	if *n < 100 || *n > 599 {
		d.Problem(at, "", "%d is not a status: 100 to 599", *n)
	}
	return *n
}

func (d *Doc) testCallout(at string, c testCallout) TestCallout {
	made := TestCallout{Headers: d.testHeaders(at+".headers", c.Headers, nil), GRPCStatus: c.GRPCStatus, GRPCMessage: c.GRPCMessage, Fails: c.Fails}
	for _, piece := range d.testBody(at+".body", c.Body) {
		made.Body = append(made.Body, piece...)
	}
	if c.GRPCStatus == nil {
		made.Status = d.answer(at+".status", c.Status)
	}
	switch {
	case c.Fails && (c.Status != nil || c.GRPCStatus != nil || c.Body != nil || c.Headers != nil):
		d.Problem(at+".fails", "leave one of them out", "a callout that fails has no answer")
	case c.GRPCStatus != nil && c.Status != nil:
		d.Problem(at+".grpcStatus", "write status for a callout by HTTP, grpcStatus for one by gRPC", "can't be combined with status")
	case c.GRPCStatus != nil && (*c.GRPCStatus < 0 || *c.GRPCStatus > 16):
		d.Problem(at+".grpcStatus", "", "%d is not a status of gRPC: 0 to 16", *c.GRPCStatus)
	case c.GRPCStatus == nil && c.GRPCMessage != "":
		d.Problem(at+".grpcMessage", "", "needs grpcStatus")
	case len(c.GRPCMessage) > 4096:
		d.Problem(at+".grpcMessage", "", "%d bytes, 4096 at most", len(c.GRPCMessage))
	}
	made.After = d.passing(at+".after", c.After)
	return made
}

// testHeaders reads headers. If host is not nil, it receives the value of the
// host header.
func (d *Doc) testHeaders(at string, n *document.Node, host *string) [][2]string {
	if n == nil {
		return nil
	}
	if n.Kind != document.Object {
		d.Problem(at, "write name: value", "%s, needs %s", n.Kind, document.Object)
		return nil
	}
	var made [][2]string
	for _, f := range n.Fields {
		path := document.Join(at, f.Key)
		name := strings.ToLower(f.Key)
		values, ok := d.headerValues(path, f.Value)
		switch {
		case !ok:
		case host != nil && (name == "host" || name == ":authority"):
			if len(values) != 1 {
				d.Problem(path, "", "%d values, needs one", len(values))
				continue
			}
			*host = values[0]
		case strings.HasPrefix(name, ":"):
			d.Problem(path, "write method, path, status or host", "%q can't be written as a header", name)
		case !httpguts.ValidHeaderFieldName(name):
			d.Problem(path, "", "%.60q is not the name of a header", f.Key)
		default:
			for _, v := range values {
				made = append(made, [2]string{name, v})
			}
		}
	}
	return made
}

func (d *Doc) headerValues(path string, n *document.Node) ([]string, bool) {
	items := []*document.Node{n}
	if n.Kind == document.List {
		items = n.Items
	}
	var values []string
	for _, item := range items {
		if item.Kind != document.Text {
			d.Problem(path, quoted(item), "%s, needs a text", item.Kind)
			return nil, false
		}
		if !httpguts.ValidHeaderFieldValue(item.Text) {
			d.Problem(path, "", "%.60q can't be the value of a header", item.Text)
			return nil, false
		}
		values = append(values, item.Text)
	}
	return values, true
}

// quoted returns a hint for a value that would be a text if it were quoted.
func quoted(n *document.Node) string {
	if n.Kind == document.Number || n.Kind == document.Bool {
		return "put it in quotes: " + strconv.Quote(shown(n))
	}
	return ""
}

func (d *Doc) testBody(at string, n *document.Node) [][]byte {
	switch {
	case n == nil:
		return nil
	case n.Kind == document.Text:
		if n.Text == "" {
			return nil
		}
		return [][]byte{[]byte(n.Text)}
	case n.Kind == document.Object:
		if raw, ok := d.base64(at, n); ok {
			return [][]byte{raw}
		}
		return nil
	case n.Kind != document.List:
		d.Problem(at, quoted(n), "%s, needs a text", n.Kind)
		return nil
	}
	var pieces [][]byte
	for i, item := range n.Items {
		if item.Kind == document.List {
			d.Problem(document.Index(at, i), "", "%s, needs a text", item.Kind)
			return nil
		}
		pieces = append(pieces, d.testBody(document.Index(at, i), item)...)
	}
	return pieces
}

// base64 reads {base64: …}.
func (d *Doc) base64(at string, n *document.Node) ([]byte, bool) {
	written := n.Get("base64")
	if written == nil || len(n.Fields) != 1 || written.Kind != document.Text {
		d.Problem(at, "", "%s, needs a text, or base64: alone", n.Kind)
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(written.Text), ""))
	if err != nil {
		d.Problem(at+".base64", "", "%v", err)
		return nil, false
	}
	return raw, true
}

func (d *Doc) property(at string, n *document.Node) any {
	switch n.Kind {
	case document.Text:
		return n.Text
	case document.Bool:
		return n.Text == "true"
	case document.Number:
		if i, err := strconv.ParseInt(n.Text, 10, 64); err == nil {
			return i
		}
		f, err := strconv.ParseFloat(n.Text, 64)
		if err != nil {
			d.Problem(at, "", "%s is out of range", shown(n))
		}
		return f
	case document.Object:
		made := map[string]any{}
		for _, f := range n.Fields {
			made[f.Key] = d.property(document.Join(at, f.Key), f.Value)
		}
		return made
	}
	d.Problem(at, "", "%s, needs a text, a number, a boolean or a mapping", n.Kind)
	return nil
}
