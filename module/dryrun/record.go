package dryrun

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

// record is what happened while a module started, or a stream went through it.
type record struct {
	left      *int // bytes that it may take; nil: as many as are bounded here
	callbacks []stream.Callback
	full      bool // later callbacks are left out
	lines     []stream.Line
	size      int // bytes of lines
	dropped   int // lines
	calls     []*stream.Call
	missing   []string
}

// Bounds of a record: what there is more of is left out.
const (
	maxCallbacks = 2000
	maxLines     = 1000
	maxLinesSize = 256 << 10
	maxMissing   = 20
	maxMissed    = 100 // bytes of one: a reply without streams has 64 KiB, and a byte may become six

	callbackSize, lineSize = 150, 50 // about
)

// take says whether there is room for so many bytes.
func (r *record) take(n int) bool {
	if r.left == nil {
		return true
	}
	if *r.left < n {
		return false
	}
	*r.left -= n
	return true
}

// maxMade is how many bytes all that a module makes in a play may take:
// headers, bodies, calls, lines, callbacks.
const maxMade = 16 << 20

// spend ends a module that makes more than it may.
func (h *host) spend(n int) {
	if *h.left -= n; *h.left < 0 {
		panic(&excess{fmt.Sprintf("what it made takes more than %d MiB", maxMade>>20)})
	}
}

// called notes a callback, which ends when the result is called.
func (r *record) called(v *vm, name string) (done func()) {
	i := len(r.callbacks)
	if r.full = r.full || i >= maxCallbacks || !r.take(callbackSize); r.full {
		return func() {}
	}
	r.callbacks = append(r.callbacks, stream.Callback{Name: name})
	count, began := v.host.count(), time.Now()
	return func() {
		c := &r.callbacks[i]
		c.Duration = time.Since(began)
		c.Instructions = v.host.count() - count
		if memory := v.instance.Memory(); memory != nil {
			c.MemoryAfter = uint64(memory.Size())
		}
	}
}

// did notes what the last callback amounts to, unless that is left out.
func (r *record) did(action string) {
	if n := len(r.callbacks); n > 0 && !r.full {
		r.callbacks[n-1].Action = action
	}
}

func (r *record) line(level abi.Level, text string) {
	text = strings.ToValidUTF8(text, "�")
	if len(r.lines) >= maxLines || r.size+len(text) > maxLinesSize || !r.take(lineSize+len(text)) {
		r.dropped++
		return
	}
	r.size += len(text)
	r.lines = append(r.lines, stream.Line{Level: level.String(), Text: text})
}

func (r *record) miss(what string) {
	what = strings.ToValidUTF8(what[:min(len(what), maxMissed)], "…")
	if len(r.missing) < maxMissing && !slices.Contains(r.missing, what) {
		r.missing = append(r.missing, what)
	}
}

// logs are the lines, with a last one where there were more.
func (r *record) logs() []stream.Line {
	if r.dropped == 0 {
		return r.lines
	}
	return append(slices.Clip(r.lines), stream.Line{Level: abi.Warn.String(), Text: fmt.Sprintf("(%d more lines)", r.dropped)})
}

func (r *record) told() stream.Record {
	out := stream.Record{Callbacks: r.callbacks, Logs: r.logs(), Missing: r.missing}
	for _, c := range r.calls {
		out.Calls = append(out.Calls, *c)
	}
	return out
}

// write logs what the module says.
func (h *host) write(level uint32, text string) {
	h.log.add(level, text)
	h.records.line(abi.Level(level), text)
}

// writeOutput logs what it writes to its standard output or error.
func (h *host) writeOutput(stderr bool, text string) {
	h.log.write(stderr, text)
	level := abi.Info
	if stderr {
		level = abi.Error
	}
	if text != "" { // an empty line is one, as in Envoy
		h.records.line(level, strings.TrimSuffix(text, "\n"))
	}
}

// now is the module's time, which goes on at once where a stream waits.
func (h *host) now() time.Time { return time.Now().Add(h.skipped) }
