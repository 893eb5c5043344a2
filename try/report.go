package try

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"wasmxds/module/dryrun/stream"
)

// Report writes the outcome of a request for people: what the filter changed, as a diff,
// and what it did.
func (o Outcome) Report(w io.Writer) {
	r := o.Result
	fmt.Fprintf(w, "%s: %s\n", o.Name, ended(r))
	if o.Stopped != "" {
		fmt.Fprintf(w, "  stopped: %s\n", o.Stopped)
	}
	if o.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", o.Hint)
	}
	if r.Connection != nil {
		part(w, "connection", bytesOf(r.Connection))
	}
	part(w, "request", changes(&r.Received, r.Request))
	if reply := localReply(r); reply != nil {
		details := ""
		if r.LocalReply.Details != "" {
			details = " (" + r.LocalReply.Details + ")"
		}
		part(w, "local reply"+details, changes(&stream.Message{}, reply))
	} else if r.Answered != nil {
		part(w, "response", changes(r.Answered, r.Response))
	}
	part(w, "log", logged(o.Logs()))
	part(w, "callouts", called(slices.Concat(o.Start.Calls, r.Calls)))
	part(w, "metrics", counted(o.Metrics))
	part(w, "asked for what only an Envoy has", listed(r.Missing))
	title := "callbacks"
	if !o.Compiled {
		title += ", interpreted"
	}
	what := "request"
	if r.Connection != nil {
		what = "connection"
	}
	part(w, title, costs(what, o.Start.Callbacks, r.Callbacks))
}

func part(w io.Writer, title, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(w, "  %s\n", title)
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "    %s\n", strings.TrimRight(line, " \n"))
	}
}

// changes returns what a filter changed in a message. It returns "" if it changed nothing, or
// if the message never left the filter.
func changes(from, to *stream.Message) string {
	if to == nil {
		return ""
	}
	return headerChanges(from.Headers, to.Headers) + bodyChange(slices.Concat(from.Body...), slices.Concat(to.Body...)) +
		headerChanges(from.Trailers, to.Trailers)
}

// headerChanges compares the values of each name, because the order of different headers has
// no meaning.
func headerChanges(from, to [][2]string) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, h := range slices.Concat(from, to) {
		if seen[h[0]] {
			continue
		}
		seen[h[0]] = true
		was, is := values(from, h[0]), values(to, h[0])
		if slices.Equal(was, is) {
			continue
		}
		b.WriteString(headerLines("-", h[0], was))
		b.WriteString(headerLines("+", h[0], is))
	}
	return b.String()
}

func values(headers [][2]string, name string) []string {
	var all []string
	for _, h := range headers {
		if h[0] == name {
			all = append(all, h[1])
		}
	}
	return all
}

func bodyChange(from, to []byte) string {
	switch {
	case string(from) == string(to):
		return ""
	case !utf8.Valid(from) || !utf8.Valid(to):
		return fmt.Sprintf("- body of %d bytes\n+ body of %d bytes: %s\n", len(from), len(to), quote(string(to)))
	}
	return lineDiff(string(from), string(to))
}

func logged(all []stream.Line) string {
	var b strings.Builder
	for _, l := range all[:min(len(all), mostLines)] {
		fmt.Fprintf(&b, "%s: %s\n", l.Level, cut(strings.TrimRight(l.Text, "\n"), mostWidth))
	}
	if more := len(all) - mostLines; more > 0 {
		fmt.Fprintf(&b, "… %d more lines\n", more)
	}
	return b.String()
}

func called(all []stream.Call) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "%s %s", c.Kind, c.Cluster)
		for _, name := range []string{":method", ":path"} {
			if value := first(c.Headers, name); value != "" {
				b.WriteString(" " + cut(value, mostWidth))
			}
		}
		answer := c.Answer
		if answer == "" {
			answer = "no answer"
		}
		fmt.Fprintf(&b, ": %s\n", answer)
	}
	return b.String()
}

func counted(all []stream.Metric) string {
	var b strings.Builder
	for _, m := range all {
		if m.Type == "gauge" {
			fmt.Fprintf(&b, "%s: %d (%s)\n", m.Name, int64(m.Value), m.Type)
			continue
		}
		fmt.Fprintf(&b, "%s: %d (%s)\n", m.Name, m.Value, m.Type)
	}
	return b.String()
}

func listed(all []string) string { return strings.Join(all, "\n") }

// costs returns a row for each callback, and one for the whole request or connection.
func costs(what string, start, request []stream.Callback) string {
	var b strings.Builder
	var total time.Duration
	instructions := uint64(0)
	for i, c := range slices.Concat(start, request) {
		if i >= len(start) {
			total += c.Duration
			instructions += c.Instructions
		}
		fmt.Fprintf(&b, "%-30s %10s", c.Name, short(c.Duration))
		if c.Instructions > 0 {
			fmt.Fprintf(&b, " %12d instructions", c.Instructions)
		}
		fmt.Fprintf(&b, " %8d KiB", c.MemoryAfter>>10)
		if c.Action != "" {
			b.WriteString("  " + c.Action)
		}
		b.WriteByte('\n')
	}
	if len(request) > 0 {
		fmt.Fprintf(&b, "%-30s %10s", "the "+what+" in all", short(total))
		if instructions > 0 {
			fmt.Fprintf(&b, " %12d instructions", instructions)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1fµs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.2fms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}
