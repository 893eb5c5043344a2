package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"wasmxds/e2e/wasmtest"
	"wasmxds/try/exchange"
)

// Outcome is what a case came to.
type Outcome struct {
	Crashed  bool   // Envoy has ended
	Rejected bool   // the plugin did not start, and its listener is not there
	Log      []Line // of the module, in its order
	Streams  []Passed
	Called   []Called
	Metrics  []string // "counter name 1"
}

// Line is what a module logged.
type Line struct{ Level, Text string }

// Passed is what came out of a stream. A nil message never got there.
type Passed struct {
	Upstream, Client *Message
	Reset            bool   // the client's stream was
	Details          string // %RESPONSE_CODE_DETAILS%

	// Of a connection: what each side got, and whether it was closed.
	Network                      bool
	ToUpstream, ToClient         []byte
	UpstreamClosed, ClientClosed bool
}

// Called is a callout that was made.
type Called struct {
	Cluster string
	Message
}

// Render is the outcome as the files have it.
func (c *Case) Render(o Outcome) string {
	if o.Crashed {
		return "Envoy crashed\n"
	}
	var b strings.Builder
	if o.Rejected {
		b.WriteString("rejected\n")
	}
	seen := ids{}
	for _, l := range o.Log {
		b.WriteString(c.line(l, seen))
	}
	slices.SortStableFunc(o.Called, func(a, b Called) int { return strings.Compare(a.Cluster, b.Cluster) })
	for _, call := range o.Called {
		fmt.Fprintf(&b, "%s was called\n", strings.TrimPrefix(call.Cluster, c.Name+"."))
		call.asCalled().render(&b)
	}
	for _, p := range o.Streams {
		p.render(&b)
	}
	for _, m := range o.Metrics {
		fmt.Fprintf(&b, "metric %s\n", m)
	}
	return strings.ReplaceAll(b.String(), c.Name+".", "")
}

// line tells a callback, a host call, or what the module logged by itself.
func (c *Case) line(l Line, seen ids) string {
	words := strings.Fields(l.Text)
	switch {
	case strings.HasPrefix(l.Text, ">"):
		text := strings.TrimPrefix(words[0], ">")
		for _, w := range words[1:] {
			if text == "on_queue_ready" {
				w = seen.show(w)
			} else {
				w = number(w)
			}
			text += " " + w
		}
		return text + "\n"
	case strings.HasPrefix(l.Text, "~") && len(words) > 1:
		n, _ := strconv.Atoi(words[0][1:])
		s := c.steps[n]
		return fmt.Sprintf("  %s = %s%s\n", s.text, status(words[1]), s.given(words[2:], seen))
	}
	text := l.Text
	if c.Foreign { // it may log whole messages
		text = changing.ReplaceAllString(text, "$1…")
	}
	return fmt.Sprintf("  %s: %s\n", l.Level, short(text))
}

// changing are the values of headers that are others each time, in a line.
var changing = regexp.MustCompile(`(x-envoy-upstream-service-time\W+(?:value: )?)\d+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// ids are numbers that a process gives out, by the order in which they came.
type ids map[string]int

func (i ids) show(digits string) string {
	if _, found := i[digits]; !found {
		i[digits] = len(i) + 1
	}
	return fmt.Sprint("#", i[digits])
}

// asCalled is the message without what Envoy adds to a call.
func (c Called) asCalled() Message { return Message(exchange.Called(exchange.Message(c.Message))) }

// given shows what the host filled in.
func (s step) given(words []string, seen ids) string {
	var b strings.Builder
	for _, o := range s.outs {
		switch {
		case len(words) == 0:
			return b.String()
		case o.kind == wasmtest.OutBytes:
			size, data := words[0], ""
			words = words[1:]
			if size != "00000000" && len(words) > 0 {
				data, words = words[0], words[1:]
			}
			value, _ := hex.DecodeString(data)
			n, _ := strconv.ParseUint(size, 16, 32)
			b.WriteString(" " + show(o.as, value, int(n)))
		case o.kind == wasmtest.Out64:
			b.WriteString(" " + show(o.as, nil, 8))
			if o.as == "u64" {
				n, _ := strconv.ParseUint(words[0]+words[1], 16, 64)
				b.WriteString(strconv.FormatUint(n, 10))
			}
			words = words[2:]
		case o.as == "id":
			b.WriteString(" " + seen.show(words[0]))
			words = words[1:]
		default:
			b.WriteString(" " + number(words[0]))
			words = words[1:]
		}
	}
	return b.String()
}

// show shows a value of so many bytes, of which these are the first.
func show(as string, value []byte, size int) string {
	switch {
	case as == "time":
		return "a time"
	case as == "u64":
		return ""
	case as == "size":
		return fmt.Sprint(size, " bytes")
	case as == "pairs":
		return showPairs(value)
	case as == "int" && size == 8:
		return fmt.Sprint("int ", int64(binary.LittleEndian.Uint64(value)))
	case as == "float" && size == 8:
		return fmt.Sprint("float ", math.Float64frombits(binary.LittleEndian.Uint64(value)))
	case size > len(value):
		return fmt.Sprintf("%s… (%d bytes)", strconv.QuoteToASCII(string(value[:20])), size)
	}
	return short(string(value))
}

func short(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%s… (%d bytes)", strconv.QuoteToASCII(s[:20]), len(s))
	}
	return strconv.QuoteToASCII(s)
}

// plain is a header's value, with quotes only where there is something else in it than text.
func plain(s string) string {
	quoted := short(s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}

// showPairs reads a map as the host hands it over.
func showPairs(b []byte) string {
	if len(b) < 4 {
		return fmt.Sprintf("no map: %q", b)
	}
	n := int(binary.LittleEndian.Uint32(b))
	rest := b[min(len(b), 4+8*n):]
	var out strings.Builder
	fmt.Fprintf(&out, "%d pairs", n)
	for i := range n {
		out.WriteString("\n   ")
		took := false
		for j := range 2 {
			at := 4 + 8*i + 4*j
			if at+4 > len(b) || int(binary.LittleEndian.Uint32(b[at:])) >= len(rest) {
				return fmt.Sprintf("no map: %q", b)
			}
			size := int(binary.LittleEndian.Uint32(b[at:]))
			text := short(string(rest[:size]))
			if took {
				text = "…"
			}
			took = exchange.Varies(string(rest[:size]))
			out.WriteString(" " + text)
			rest = rest[size+1:]
		}
	}
	return out.String()
}

var statuses = []string{"ok", "not_found", "bad_argument", "serialization_failure", "parse_failure", "bad_expression",
	"invalid_memory_access", "empty", "cas_mismatch", "result_mismatch", "internal_failure", "broken_connection", "unimplemented"}

func status(digits string) string {
	n, _ := strconv.ParseUint(digits, 16, 32)
	if n < uint64(len(statuses)) {
		return statuses[n]
	}
	return fmt.Sprint("status ", n)
}

func number(digits string) string {
	n, _ := strconv.ParseUint(digits, 16, 32)
	return fmt.Sprint(int32(n))
}

func (m Message) render(b *strings.Builder) {
	for _, h := range m.Headers {
		if exchange.Added(h[0]) {
			continue
		}
		value := plain(h[1])
		if exchange.Varies(h[0]) {
			value = "…"
		}
		fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("  %s: %s", h[0], value), " "))
	}
	if body := slices.Concat(m.Body...); len(body) > 0 {
		fmt.Fprintf(b, "  | %s\n", short(string(body)))
	}
	for _, h := range m.Trailers {
		if exchange.Added(h[0]) {
			continue
		}
		value := h[1]
		if exchange.Varies(h[0]) {
			value = "…"
		}
		fmt.Fprintf(b, "  trailer %s: %s\n", h[0], value)
	}
}

func (p Passed) render(b *strings.Builder) {
	if p.Network {
		closed := map[bool]string{true: ", closed"}
		fmt.Fprintf(b, "upstream got %s%s\n", short(string(p.ToUpstream)), closed[p.UpstreamClosed])
		fmt.Fprintf(b, "client got %s%s\n", short(string(p.ToClient)), closed[p.ClientClosed])
		return
	}
	if p.Upstream != nil {
		b.WriteString("upstream got\n")
		p.Upstream.render(b)
	}
	switch {
	case p.Client == nil && p.Reset:
		b.WriteString("client got a reset\n")
	case p.Client == nil:
		b.WriteString("client got nothing\n")
	default:
		b.WriteString("client got\n")
		p.Client.render(b)
		if p.Reset {
			b.WriteString("  and a reset\n")
		}
	}
	const ours = "http2.remote_reset" // what ends a stream that hangs
	if p.Details != "" && p.Details != "via_upstream" && p.Details != ours {
		fmt.Fprintf(b, "details %s\n", p.Details)
	}
}
