package try

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
	"wasmxds/module/dryrun/stream"
)

// connection compares the outcome of a connection with what is expected.
func (k *checker) connection(c definition.TestCase, e definition.Expectation, r stream.Result) {
	went := r.Paused == "" && !closed(r)
	switch {
	case e.Continues != nil && *e.Continues && !went:
		k.fail(e.ContinuesAt, "", "%s, expected it to hold up nothing", ended(r))
	case e.Continues != nil && !*e.Continues && went:
		k.fail(e.ContinuesAt, "", "%s, expected the filter to hold it up, or to close it", ended(r))
	case e.Continues == nil && r.Paused != "":
		k.fail(c.At, "", "%s", ended(r))
	}
	want := e.Connection
	if want == nil {
		return
	}
	k.text(want.Upstream, received(r.Connection.Downstream))
	k.text(want.Downstream, received(r.Connection.Upstream))
	if want.Closed != nil && *want.Closed != closed(r) {
		expected := "the filter to close it"
		if !*want.Closed {
			expected = "the filter not to close it"
		}
		k.fail(want.ClosedAt, "", "%s, expected %s", ended(r), expected)
	}
}

// closed reports whether the filter, or Envoy on its behalf, closed a connection.
func closed(r stream.Result) bool { return r.Connection.Closes == stream.ClosedFilter }

// received returns what one side received of what the other sent.
func received(pieces [][]byte) string { return string(slices.Concat(pieces...)) }

// endedConnection says how a connection ended.
func endedConnection(r stream.Result) string {
	switch {
	case closed(r):
		return "the filter closed the connection"
	case r.Paused == "connection":
		return "the filter holds up the connection, and nothing has it go on"
	case r.Paused != "":
		return "the filter holds up " + r.Paused + ", and nothing has it go on"
	}
	return "the connection went on to the upstream"
}

// bytesOf returns what both sides received, in lines.
func bytesOf(c *stream.Connection) string {
	var b strings.Builder
	for _, side := range []struct {
		who  string
		what [][]byte
	}{{"upstream", c.Downstream}, {"client", c.Upstream}} {
		text := received(side.what)
		fmt.Fprintf(&b, "the %s received %d bytes", side.who, len(text))
		if len(text) > 0 {
			b.WriteString(": " + quote(text))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
