package definition

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"wasmxds/definition/internal/document"
)

func (d *Doc) expectation(at string, e *testExpect) Expectation {
	made := Expectation{Continues: e.Continues}
	if e.Continues != nil {
		made.ContinuesAt = d.expected(at + ".continues")
	}
	if r := e.Request; r != nil {
		made.Request = d.expectedRequest(at+".request", *r)
	}
	made.Response = d.expectedResponse(at+".response", e.Response)
	made.LocalReply = d.expectedResponse(at+".localReply", e.LocalReply)
	if c := e.Connection; c != nil {
		at := at + ".connection"
		made.Connection = &ExpectedConnection{
			Upstream: d.expectedText(at+".upstream", c.Upstream), Downstream: d.expectedText(at+".downstream", c.Downstream),
			Closed: c.Closed, ClosedAt: d.expected(at + ".closed"),
		}
	}
	if e.LocalReply != nil && e.Continues != nil && *e.Continues {
		d.Problem(at+".continues", "a local reply of the response is expected with response alone", "can't be true together with localReply")
	}
	if len(e.Logs) > maxExpected {
		d.Problem(at+".logs", "", "%d texts, %d at most", len(e.Logs), maxExpected)
		e.Logs = nil
	}
	for i, text := range e.Logs {
		made.Logs = append(made.Logs, ExpectedText{Text: text, Part: true, At: d.expected(document.Index(at+".logs", i))})
	}
	for _, name := range slices.Sorted(maps.Keys(e.Metrics)) {
		made.Metrics = append(made.Metrics, ExpectedMetric{Name: name, Value: e.Metrics[name], At: d.expected(document.Join(at+".metrics", name))})
	}
	if len(e.Calls) > maxExpected {
		d.Problem(at+".calls", "", "%d callouts, %d at most", len(e.Calls), maxExpected)
		e.Calls = nil
	}
	if e.Calls != nil {
		made.Calls = []ExpectedCall{}
	}
	for i, c := range e.Calls {
		path := document.Index(at+".calls", i)
		made.Calls = append(made.Calls, ExpectedCall{Cluster: c.Cluster, ExpectedMessage: *d.expectedRequest(path, c.expectedRequest)})
	}
	return made
}

// expected returns the position of the expectation at a path.
func (d *Doc) expected(path string) Expected {
	field := path
	if d.object != nil {
		field = inObject(path)
	}
	return Expected{Pos: d.PosOf(path), Field: field}
}

func (d *Doc) expectedRequest(at string, r expectedRequest) *ExpectedMessage {
	made := d.expectedMessage(at, r.Headers, r.Body, r.Trailers)
	for _, p := range []struct{ field, header, value string }{{"method", ":method", r.Method}, {"path", ":path", r.Path}} {
		if p.value != "" {
			made.Headers = append(made.Headers, ExpectedHeader{Name: p.header, Values: []string{p.value}, At: d.expected(at + "." + p.field)})
		}
	}
	return made
}

func (d *Doc) expectedResponse(at string, r *expectedResponse) *ExpectedMessage {
	if r == nil {
		return nil
	}
	made := d.expectedMessage(at, r.Headers, r.Body, r.Trailers)
	if r.Status != nil {
		made.Status = &ExpectedText{Text: strconv.Itoa(d.status(at+".status", r.Status)), At: d.expected(at + ".status")}
	}
	return made
}

func (d *Doc) expectedMessage(at string, headers, body, trailers *document.Node) *ExpectedMessage {
	return &ExpectedMessage{
		Headers: d.expectedHeaders(at+".headers", headers), Body: d.expectedText(at+".body", body),
		Trailers: d.expectedHeaders(at+".trailers", trailers), At: d.expected(at),
	}
}

func (d *Doc) expectedText(at string, n *document.Node) *ExpectedText {
	if n == nil {
		return nil
	}
	made := &ExpectedText{At: d.expected(at)}
	switch {
	case n.Kind == document.Text:
		made.Text = n.Text
	case n.Kind == document.Object && n.Get("contains") != nil:
		made.Text, made.Part = d.contains(at, n), true
	case n.Kind == document.Object:
		raw, _ := d.base64(at, n)
		made.Text = string(raw)
	default:
		d.Problem(at, quoted(n), "%s, needs a text", n.Kind)
	}
	return made
}

// contains reads {contains: …}.
func (d *Doc) contains(at string, n *document.Node) string {
	part := n.Get("contains")
	if part == nil || len(n.Fields) != 1 || part.Kind != document.Text {
		d.Problem(at, "", "%s, needs a text, or contains: and a text", n.Kind)
		return ""
	}
	return part.Text
}

func (d *Doc) expectedHeaders(at string, n *document.Node) []ExpectedHeader {
	if n == nil {
		return nil
	}
	if n.Kind != document.Object {
		d.Problem(at, "write name: value", "%s, needs %s", n.Kind, document.Object)
		return nil
	}
	var made []ExpectedHeader
	for _, f := range n.Fields {
		path := document.Join(at, f.Key)
		h := ExpectedHeader{Name: strings.ToLower(f.Key), At: d.expected(path)}
		if h.Name == "host" {
			h.Name = ":authority"
		}
		if !httpguts.ValidHeaderFieldName(strings.TrimPrefix(h.Name, ":")) {
			d.Problem(path, "", "%.60q is not the name of a header", f.Key)
		}
		switch f.Value.Kind {
		case document.Null:
		case document.Object:
			part := d.contains(path, f.Value)
			h.Part = &part
		default:
			h.Values, _ = d.headerValues(path, f.Value)
		}
		made = append(made, h)
	}
	return made
}
