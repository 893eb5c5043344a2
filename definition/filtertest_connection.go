package definition

import (
	"time"

	"wasmxds/definition/internal/document"
)

// presence says whether a field is there.
type presence struct {
	name  string
	there bool
}

// testConnection reads the connection of a case; nil: it has a request.
func (d *Doc) testConnection(at string, s testStream) *TestConnection {
	c := s.Connection
	if c == nil {
		return nil
	}
	for _, f := range []presence{{"request", s.Request != nil}, {"response", s.Response != nil}} {
		if f.there {
			d.Problem(at+"."+f.name, "a network filter has connections, any other filter requests", "can't be combined with connection")
		}
	}
	at += ".connection"
	made := &TestConnection{Closes: c.Closes}
	if c.Closes == "" {
		made.Closes = "downstream"
	}
	if n := len(c.Data); n > maxData {
		d.Problem(at+".data", "", "%d chunks, %d at most", n, maxData)
		return made
	}
	for i, data := range c.Data {
		path := document.Index(at+".data", i)
		if (data.Downstream == nil) == (data.Upstream == nil) {
			d.Problem(path, "write who sends it: - downstream: hello", "needs either downstream or upstream")
			continue
		}
		field, n := ".downstream", data.Downstream
		if data.Upstream != nil {
			field, n = ".upstream", data.Upstream
		}
		if n.Kind == document.List {
			d.Problem(path+field, "write an item for each chunk", "%s, needs a text", n.Kind)
			continue
		}
		for _, chunk := range d.testBody(path+field, n) {
			made.Data = append(made.Data, TestData{Upstream: data.Upstream != nil, Data: chunk})
		}
	}
	return made
}

// fits checks that what is expected can come of a request, or of a connection.
func (d *Doc) fits(at string, e *testExpect, connection bool) {
	if !connection {
		if e.Connection != nil {
			d.Problem(at+".connection", "write connection beside expect, with what each side sends", "the case has a request, no connection")
		}
		return
	}
	for _, f := range []presence{{"request", e.Request != nil}, {"response", e.Response != nil}, {"localReply", e.LocalReply != nil}} {
		if f.there {
			d.Problem(at+"."+f.name, "write connection: {upstream: …, downstream: …}, what each side receives", "the case has a connection, no request")
		}
	}
}

// passing reads a time that passes on the clock of a test.
func (d *Doc) passing(at, text string) time.Duration {
	if text == "" {
		return 0
	}
	passes, err := time.ParseDuration(text)
	if err != nil || passes < 0 || passes > maxAfter {
		d.Problem(at, "", "%.60q is not a duration like 50ms, of an hour at most", text)
		return 0
	}
	return passes
}
