package dryrun

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/stream"
)

// record is what happened while a module started, or while a stream went through it.
type record struct {
	left      *int // bytes that it may still take; nil: only the bounds below apply
	callbacks []stream.Callback
	full      bool // further callbacks are left out
	lines     []stream.Line
	size      int // size of the lines, in bytes
	dropped   int // number of lines that were left out
	calls     []*stream.Call
	missing   []string
}

// Bounds of a record. What exceeds them is left out.
const (
	maxCallbacks = 2000
	maxLines     = 1000
	maxLinesSize = 256 << 10
	maxMissing   = 20
	maxMissed    = 100 // bytes of each: a reply without streams is at most 64 KiB, and in JSON a byte may take six

	callbackSize, lineSize = 150, 50 // approximate
)

// take reports whether there is room for that many bytes.
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

// maxMade limits, in bytes, all that a module creates in a play: headers, bodies, calls,
// log lines, callbacks.
const maxMade = 16 << 20

// spend ends a module that creates more than it may.
func (h *host) spend(n int) {
	if *h.left -= n; *h.left < 0 {
		panic(&excess{fmt.Sprintf("what it made takes more than %d MiB", maxMade>>20)})
	}
}

// called records a callback. The caller calls the result when the callback ends.
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

// did records what the last callback has caused, unless that callback was left out.
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

// logs returns the lines. If some were left out, the last one says so.
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

// write records a log line of the module.
func (h *host) write(level uint32, text string) {
	h.log.add(level, text)
	h.records.line(abi.Level(level), text)
}

// writeOutput logs what the module writes to its standard output or error.
func (h *host) writeOutput(stderr bool, text string) {
	h.log.write(stderr, text)
	level := abi.Info
	if stderr {
		level = abi.Error
	}
	if text != "" { // as in Envoy, an empty line is logged
		h.records.line(level, strings.TrimSuffix(text, "\n"))
	}
}

// now is the module's time. It jumps ahead where a stream waits.
func (h *host) now() time.Time { return time.Now().Add(h.skipped) }
