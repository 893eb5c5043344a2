package try

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"wasmxds/module/dryrun/stream"
	"wasmxds/textdiff"
)

// Compare writes the differences between the outcomes of a request with two modules. It
// also shows the costs, which do not count as a difference.
func Compare(w io.Writer, was, is Outcome) {
	hunks := textdiff.Hunks(textdiff.Lines(was.written(), is.written()))
	same := "the same"
	if len(hunks) > 0 {
		same = "differs"
	}
	fmt.Fprintf(w, "%s: %s; it took %s, before %s\n", is.Name, same, short(is.took()), short(was.took()))
	for line := range strings.Lines(shown(hunks, 4*mostLines)) {
		io.WriteString(w, "    "+line)
	}
}

// written returns the whole outcome of a request, in lines.
func (o Outcome) written() string {
	r := o.Result
	var b strings.Builder
	fmt.Fprintln(&b, ended(r))
	if o.Stopped != "" {
		fmt.Fprintln(&b, "stopped:", o.Stopped)
	}
	if c := r.Connection; c != nil {
		part(&b, "upstream received", received(c.Downstream))
		part(&b, "client received", received(c.Upstream))
	}
	written(&b, "request", r.Request)
	written(&b, "response", r.Response)
	if r.LocalReply != nil {
		written(&b, "local reply", localReply(r))
	}
	part(&b, "log", logged(o.Logs()))
	part(&b, "callouts", called(slices.Concat(o.Start.Calls, r.Calls)))
	part(&b, "metrics", counted(o.Metrics))
	return b.String()
}

func written(b *strings.Builder, what string, m *stream.Message) {
	if m == nil {
		return
	}
	fmt.Fprintln(b, what)
	for _, list := range [][][2]string{m.Headers, m.Trailers} {
		sorted := slices.Clone(list) // the order has no meaning
		slices.SortStableFunc(sorted, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		for _, h := range sorted {
			fmt.Fprintf(b, "  %s: %s\n", h[0], h[1])
		}
	}
	if body := slices.Concat(m.Body...); len(body) > 0 {
		part(b, "body", string(body))
	}
}

func (o Outcome) took() (d time.Duration) {
	for _, c := range o.Result.Callbacks {
		d += c.Duration
	}
	return d
}
