package trace

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otel "go.opentelemetry.io/otel/trace"
)

// change is a trace in progress.
type change struct {
	span      otel.Span
	published time.Time
	last      time.Time // time of its last event
	filters   map[string]*filter
}

// filter is the progress of a filter to the Envoys.
type filter struct {
	version string
	ctx     context.Context
	span    otel.Span
	last    time.Time
	nodes   map[string]time.Time // when each of the first Envoys was published to, or primed
	counts  map[string]int       // by stage
}

// begin starts the trace of a change. The caller holds t.mu.
func (t *Tracer) begin(p Published, changed map[string]string) {
	start := p.Began
	for _, s := range t.pending {
		if s.start.Before(start) {
			start = s.start
		}
	}
	ctx, span := t.tracer.Start(context.Background(), "change", otel.WithNewRoot(), otel.WithTimestamp(start),
		otel.WithAttributes(attribute.Int("wasmxds.filters_changed", len(changed))))
	for _, s := range t.pending {
		t.tell(ctx, s)
		if s.err != nil {
			span.SetStatus(codes.Error, s.name+": "+s.err.Error())
		}
	}
	t.tell(ctx, step{name: "compile", start: p.Began, end: p.Compiled})
	t.tell(ctx, step{name: "publish", start: p.Compiled, end: p.Ended})
	c := &change{span: span, published: p.Ended, last: p.Ended, filters: map[string]*filter{}}
	for name, v := range changed {
		f := &filter{version: v, last: p.Ended, nodes: map[string]time.Time{}, counts: map[string]int{}}
		f.ctx, f.span = t.tracer.Start(ctx, "filter "+name, otel.WithTimestamp(p.Ended),
			otel.WithAttributes(attribute.String("wasmxds.filter", name), attribute.String("wasmxds.version", v)))
		c.filters[name] = f
	}
	t.open = append(t.open, c)
	if len(t.open) > maxOpen {
		t.open[0].end()
		t.open = t.open[1:]
	}
}

// Swap is a stage of a filter's change on an Envoy.
type Swap struct {
	Node, Filter string
	To           string // version
	Stage        string // such as "primed", "swapped", "crashed", "refused" or "unfetched"
	At           time.Time
}

// Swapped records a stage.
func (t *Tracer) Swapped(s Swap) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.open) - 1; i >= 0; i-- {
		c := t.open[i]
		if f := c.filters[s.Filter]; f != nil && f.version == s.To {
			c.last, f.last = s.At, s.At
			f.counts[s.Stage]++
			t.node(c, f, s)
			return
		}
	}
}

// node adds the span of one Envoy, if it is among the first.
func (t *Tracer) node(c *change, f *filter, s Swap) {
	since, known := f.nodes[s.Node]
	if !known {
		if len(f.nodes) == t.Nodes {
			return
		}
		since = c.published
	}
	f.nodes[s.Node] = s.At
	end := step{name: s.Stage, start: since, end: s.At, attributes: []attribute.KeyValue{
		attribute.String("wasmxds.node", s.Node), attribute.String("wasmxds.filter", s.Filter),
	}}
	switch s.Stage {
	case "primed":
		end.name = "prime"
	case "swapped":
		end.name = "swap"
	case "crashed":
		end.err = errors.New("its VM has crashed")
	case "refused", "unfetched":
		end.err = errors.New("the Envoy goes on with what it had")
	}
	t.tell(f.ctx, end)
}

// end ends the trace at its last event.
func (c *change) end() {
	for _, f := range c.filters {
		for _, stage := range slices.Sorted(maps.Keys(f.counts)) {
			f.span.SetAttributes(attribute.Int("wasmxds.envoys."+stage, f.counts[stage]))
			if stage == "refused" || stage == "unfetched" {
				f.span.SetStatus(codes.Error, "Envoys did not take it")
			}
		}
		f.span.End(otel.WithTimestamp(f.last))
	}
	c.span.End(otel.WithTimestamp(c.last))
}
