package try

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"wasmxds/module/dryrun/stream"
	"wasmxds/textdiff"
	"wasmxds/try/exchange"
)

// Beside writes the differences between the outcome of a request in an Envoy and here, and
// reports whether there are any. It ignores what Envoy adds by itself, and what only one of
// the two can tell: the costs of callbacks, log lines of level trace, values of histograms,
// and the messages of traps.
func Beside(w io.Writer, version string, here, there Outcome) (differs bool) {
	diff := Differences(here, there)
	if diff == "" {
		fmt.Fprintf(w, "%s: the same on Envoy %s\n", here.Name, version)
		return false
	}
	fmt.Fprintf(w, "%s: differs on Envoy %s\n", here.Name, version)
	for line := range strings.Lines(diff) {
		io.WriteString(w, "    "+line)
	}
	return true
}

// Differences returns the lines in which two outcomes differ: "-" marks those of the host,
// "+" those of Envoy. It returns "" if there are none.
func Differences(here, there Outcome) string {
	was, is := here.common(), there.common()
	if was == is {
		return ""
	}
	return shown(textdiff.Hunks(textdiff.Lines(was, is)), 4*mostLines)
}

// common returns, in lines, what both the host and an Envoy can tell.
func (o Outcome) common() string {
	r := o.Result
	var b strings.Builder
	switch {
	case o.Stopped != "":
		fmt.Fprintln(&b, "it was stopped")
	case r.Crash != "":
		fmt.Fprintln(&b, "the filter has crashed")
	case r.Reset != "":
		fmt.Fprintln(&b, "the request was cut off")
	case r.Paused != "":
		what, _, _ := strings.Cut(r.Paused, " ")
		fmt.Fprintf(&b, "the filter holds up the %s\n", what)
	case r.LocalReply != nil && !reached(r):
		fmt.Fprintf(&b, "the filter, or Envoy for it, answered: %s\n", r.LocalReply.Details)
	case r.LocalReply != nil:
		fmt.Fprintf(&b, "the filter, or Envoy for it, put a response in place of the upstream's: %s\n", r.LocalReply.Details)
	case reached(r):
		fmt.Fprintln(&b, "the request went on to the upstream")
	default:
		fmt.Fprintln(&b, "the request did not reach the upstream")
	}
	if r.Sent {
		written(&b, "request", foreign(r.Request))
	}
	if r.Complete {
		written(&b, "response", foreign(r.Response))
	}
	part(&b, "log", logged(slices.DeleteFunc(o.Logs(), func(l stream.Line) bool { return l.Level == "trace" })))
	for _, c := range slices.Concat(o.Start.Calls, r.Calls) {
		if c.Answer == "no such cluster" || c.Answer == "no connection" || strings.HasPrefix(c.Answer, "it has no ") {
			continue // no call was made
		}
		m := exchange.Called(stream.Message{Headers: c.Headers, Body: [][]byte{c.Body}, Trailers: c.Trailers})
		written(&b, "callout "+c.Kind+" "+c.Cluster, foreign(&m))
	}
	metrics := slices.Clone(o.Metrics)
	slices.SortFunc(metrics, func(a, b stream.Metric) int { return strings.Compare(a.Name, b.Name) })
	for i := range metrics {
		if metrics[i].Type == histogram {
			metrics[i].Value = 0
		}
	}
	part(&b, "metrics", counted(metrics))
	return b.String()
}

// histogram is the type of metric for which an Envoy does not tell the last value.
const histogram = "histogram"

// foreign returns a message without what belongs to Envoy or its connections.
func foreign(m *stream.Message) *stream.Message {
	if m == nil {
		return nil
	}
	out := *m
	out.Headers, out.Trailers = plain(m.Headers), plain(m.Trailers)
	return &out
}

func plain(headers [][2]string) [][2]string {
	var all [][2]string
	for _, h := range headers {
		switch {
		case exchange.Added(h[0]), h[0] == "transfer-encoding", h[0] == "connection", h == [2]string{"content-length", "0"}:
			continue
		case exchange.Varies(h[0]):
			h[1] = "…"
		}
		all = append(all, h)
	}
	return all
}
