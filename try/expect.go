package try

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition"
	"wasmxds/module/dryrun/stream"
)

// failures returns the expectations of a case that are not met.
func failures(c definition.TestCase, out Outcome) []definition.Problem {
	r := out.Result
	k := newChecker(c, out)
	if r.Crash != "" {
		k.crashed(c.At, "", r)
		return k.found
	}
	e := c.Expect
	if r.Connection != nil {
		k.connection(c, e, r)
	} else {
		k.request(c, e, r)
	}
	k.logs(e.Logs, out.Logs())
	k.metrics(e.Metrics, out.Metrics)
	k.calls(e.Calls, r.Calls)
	if len(k.found) > 0 && len(r.Missing) > 0 {
		last := &k.found[len(k.found)-1]
		last.Hint = "it asked for what only an Envoy has: " + strings.Join(r.Missing[:min(len(r.Missing), 5)], ", ") + "; give it in properties"
	}
	return k.found
}

// request compares the outcome of a request.
func (k *checker) request(c definition.TestCase, e definition.Expectation, r stream.Result) {
	if e.Continues != nil && *e.Continues != reached(r) {
		k.fail(e.ContinuesAt, "", "%s, expected it to %s", ended(r), continues(*e.Continues))
	} else if held := e.Continues == nil || *e.Continues; held && r.Paused != "" {
		k.fail(c.At, "", "%s", ended(r))
	}
	k.message("request", e.Request, r.Request, ended(r))
	k.message("response", e.Response, r.Response, ended(r))
	if e.LocalReply != nil {
		k.message("localReply", e.LocalReply, localReply(r), ended(r))
	}
}

// reached reports whether the upstream got the whole request.
func reached(r stream.Result) bool { return r.Answered != nil }

func continues(yes bool) string {
	if yes {
		return "continue to the upstream"
	}
	return "go no further"
}

// ended describes how a request ended.
func ended(r stream.Result) string {
	switch {
	case r.Crash != "":
		return "the filter has crashed: " + r.Crash
	case r.Connection != nil:
		return endedConnection(r)
	case r.LocalReply != nil && reached(r):
		return fmt.Sprintf("the filter put a response of its own, %d, in place of the upstream's", r.LocalReply.Status)
	case r.LocalReply != nil:
		return fmt.Sprintf("the filter answered %d itself", r.LocalReply.Status)
	case r.Reset != "":
		return "the request was cut off: " + r.Reset
	case r.Paused != "":
		return "the filter holds up the " + r.Paused + ", and nothing has it go on"
	case reached(r):
		return "the request went on to the upstream"
	}
	return "the request did not reach the upstream"
}

func localReply(r stream.Result) *stream.Message {
	if r.LocalReply == nil {
		return nil
	}
	m := &stream.Message{Headers: r.LocalReply.Headers}
	if len(r.LocalReply.Body) > 0 {
		m.Body = [][]byte{r.LocalReply.Body}
	}
	return m
}

// checker collects differences.
type checker struct {
	name  string
	envoy bool // the outcome is that of an Envoy
	found []definition.Problem
}

func newChecker(c definition.TestCase, out Outcome) *checker {
	k := &checker{name: c.Name, envoy: out.Envoy != ""}
	if k.envoy {
		k.name += " on Envoy " + out.Envoy
	}
	return k
}

// crashed records that the filter has crashed, with what it logged.
func (k *checker) crashed(at definition.Expected, which string, r stream.Result) {
	k.fail(at, logLines(r.Logs), "%sthe filter has crashed: %s", which, r.Crash)
}

// fail records a failure at a field of the document, with the lines of a diff.
func (k *checker) fail(at definition.Expected, diff, format string, args ...any) {
	p := failure(at, "%s: %s", k.name, fmt.Sprintf(format, args...))
	p.Diff = diff
	k.found = append(k.found, p)
}

func (k *checker) message(what string, want *definition.ExpectedMessage, got *stream.Message, ended string) {
	if want == nil {
		return
	}
	if got == nil {
		words := map[string]string{"request": "no request reached the upstream", "response": "the client got no response", "localReply": "there was no local reply"}
		k.fail(want.At, "", "%s: %s", words[what], ended)
		return
	}
	if s := want.Status; s != nil {
		if status := first(got.Headers, ":status"); status != s.Text {
			k.fail(s.At, lines("-", s.Text)+lines("+", status), "got %s, expected %s", status, s.Text)
		}
	}
	k.headers(want.Headers, got.Headers)
	k.text(want.Body, string(slices.Concat(got.Body...)))
	k.headers(want.Trailers, got.Trailers)
}

func first(headers [][2]string, name string) string {
	for _, h := range headers {
		if h[0] == name {
			return h[1]
		}
	}
	return ""
}

func (k *checker) headers(want []definition.ExpectedHeader, got [][2]string) {
	for _, h := range want {
		var values []string
		for _, g := range got {
			if strings.EqualFold(g[0], h.Name) {
				values = append(values, g[1])
			}
		}
		switch {
		case h.Part != nil:
			if !slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, *h.Part) }) {
				k.fail(h.At, headerLines("-", h.Name, []string{"…" + *h.Part + "…"})+headerLines("+", h.Name, values), "got %s, expected a value with %s in it", quoted(values), quote(*h.Part))
			}
		case !slices.Equal(values, h.Values):
			k.fail(h.At, headerLines("-", h.Name, h.Values)+headerLines("+", h.Name, values), "got %s, expected %s", quoted(values), quoted(h.Values))
		}
	}
}

func (k *checker) text(want *definition.ExpectedText, got string) {
	switch {
	case want == nil:
	case want.Part && !strings.Contains(got, want.Text):
		k.fail(want.At, lines("-", "…"+want.Text+"…")+lines("+", got), "got %s, expected a text with %s in it", quote(got), quote(want.Text))
	case !want.Part && got != want.Text:
		k.fail(want.At, lineDiff(want.Text, got), "%s", differ(got, want.Text))
	}
}

func (k *checker) logs(want []definition.ExpectedText, all []stream.Line) {
	for _, w := range want {
		if !slices.ContainsFunc(all, func(l stream.Line) bool { return strings.Contains(l.Text, w.Text) }) {
			k.fail(w.At, lines("-", "…"+w.Text+"…")+logLines(all), "no line of its log has %s in it", quote(w.Text))
		}
	}
}

func (k *checker) metrics(want []definition.ExpectedMetric, got []stream.Metric) {
	for _, w := range want {
		i := slices.IndexFunc(got, func(m stream.Metric) bool { return m.Name == w.Name })
		if i < 0 {
			var names []string
			for _, m := range got[:min(len(got), 10)] {
				names = append(names, m.Name)
			}
			k.fail(w.At, "", "it has no metric %s; it has %s", quote(w.Name), orNone(names))
			continue
		}
		if k.envoy && got[i].Type == histogram {
			continue // Envoy does not show their values
		}
		if value := int64(got[i].Value); value != w.Value {
			k.fail(w.At, lines("-", fmt.Sprintf("%s: %d", w.Name, w.Value))+lines("+", fmt.Sprintf("%s: %d", w.Name, value)), "got %d, expected %d", value, w.Value)
		}
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (k *checker) calls(want []definition.ExpectedCall, got []stream.Call) {
	if want == nil {
		return
	}
	for i, w := range want {
		if i >= len(got) {
			k.fail(w.At, "", "it made %s, this one is missing", calls(len(got)))
			return
		}
		if got[i].Cluster != w.Cluster {
			k.fail(w.At, lines("-", w.Cluster)+lines("+", got[i].Cluster), "it called %s, expected %s", quote(got[i].Cluster), quote(w.Cluster))
			continue
		}
		k.headers(w.Headers, got[i].Headers)
		k.text(w.Body, string(got[i].Body))
		k.headers(w.Trailers, got[i].Trailers)
	}
}

func calls(n int) string {
	if n == 1 {
		return "1 callout"
	}
	return fmt.Sprintf("%d callouts", n)
}
