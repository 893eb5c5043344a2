// Package trace exports the progress of changes from the directory to the Envoys to
// OpenTelemetry. Each change is one trace, with what was read, fetched, tried, compiled and
// published, and for each filter when Envoys primed and swapped it. A change that goes in
// waves has an additional trace, from its first wave to its end.
//
// Start with [New], which is only useful if [Configured]; a nil Tracer accepts all calls
// and does nothing. A Tracer is safe for concurrent use, and never waits for the collector.
package trace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"
)

// Options configure a Tracer; every field has a default.
type Options struct {
	Version  string           // of xds-server
	Exporter sdk.SpanExporter // where spans go; default: as OTEL_EXPORTER_OTLP_… say
	Quiet    time.Duration    // time without events after which a change is over; default 10 s
	Nodes    int              // number of Envoys with spans for each filter of a change; others are only counted; default 50
	Now      func() time.Time
}

// Configured reports whether the environment names a collector and does not disable traces.
func Configured(getenv func(string) string) (bool, error) {
	if getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		getenv("OTEL_SDK_DISABLED") == "true" || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	p := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if p != "http/protobuf" {
		return false, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: traces are sent by http/protobuf only", p)
	}
	return true, nil
}

// Tracer combines events into traces.
type Tracer struct {
	Options
	provider *sdk.TracerProvider
	tracer   otel.Tracer

	mu       sync.Mutex
	pending  []step            // not published yet, oldest first
	versions map[string]string // of filters, as published
	open     []*change         // oldest first
	rollouts []*told           // in progress
}

// Limits of what is kept.
const (
	maxPending = 64
	maxOpen    = 16
	maxAge     = time.Minute // of steps that did not lead to a change
	flushLimit = 2 * time.Second
)

// New returns a Tracer. Run must be called to end what it starts.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if o.Exporter == nil {
		e, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("set up traces: %w", err)
		}
		o.Exporter = e
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "xds-server"), attribute.String("service.version", o.Version),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("set up traces: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Quiet, o.Nodes = cmp.Or(o.Quiet, 10*time.Second), cmp.Or(o.Nodes, 50)
	t := &Tracer{Options: o, versions: map[string]string{}}
	t.provider = sdk.NewTracerProvider(sdk.WithResource(res), sdk.WithBatcher(o.Exporter))
	t.tracer = t.provider.Tracer("wasmxds/trace")
	return t, nil
}

// Run ends changes that are over, and all of them when ctx ends. Spans that the collector
// has not accepted two seconds later are lost.
func (t *Tracer) Run(ctx context.Context) error {
	if t == nil {
		return nil
	}
	tick := time.NewTicker(t.Quiet / 4)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			t.sweep(t.Now().Add(-t.Quiet))
		}
	}
	t.sweep(t.Now().Add(time.Hour))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("end traces: %w", err)
	}
	return nil
}

// sweep ends the changes without an event since a time.
func (t *Tracer) sweep(since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = slices.DeleteFunc(t.open, func(c *change) bool {
		if c.last.After(since) {
			return false
		}
		c.end()
		return true
	})
}

// step is a span with a known end.
type step struct {
	name       string
	start, end time.Time
	err        error
	attributes []attribute.KeyValue
	read       bool // of the directory
}

func (t *Tracer) tell(ctx context.Context, s step) {
	_, span := t.tracer.Start(ctx, s.name, otel.WithTimestamp(s.start), otel.WithAttributes(s.attributes...))
	if s.err != nil {
		span.SetStatus(codes.Error, s.err.Error())
	}
	span.End(otel.WithTimestamp(s.end))
}

// Read is a read of the directory that found a change.
type Read struct {
	Changed time.Time // when the change was seen
	Began   time.Time // when the directory had been quiet for long enough
	Ended   time.Time // when everything was read, parsed and merged
	Files   int
	Errors  int
}

// Read records a change of the directory.
func (t *Tracer) Read(r Read) {
	t.wait(
		step{name: "wait for quiet", start: r.Changed, end: r.Began, read: true},
		step{name: "read and parse", start: r.Began, end: r.Ended, read: true, attributes: []attribute.KeyValue{
			attribute.Int("wasmxds.files", r.Files), attribute.Int("wasmxds.errors", r.Errors),
		}},
	)
}

// Fetched records an attempt to get a module that has just ended.
func (t *Tracer) Fetched(url, sha256 string, took time.Duration, err error) {
	t.ended("fetch and verify", took, err, attribute.String("wasmxds.module.url", url), attribute.String("wasmxds.module.sha256", sha256))
}

// DryRun records a trial of a module that has just ended.
func (t *Tracer) DryRun(filter string, took time.Duration, err error) {
	t.ended("dry run", took, err, attribute.String("wasmxds.filter", filter))
}

func (t *Tracer) ended(name string, took time.Duration, err error, a ...attribute.KeyValue) {
	if t == nil {
		return
	}
	now := t.Now()
	t.wait(step{name: name, start: now.Add(-took), end: now, err: err, attributes: a})
}

// wait keeps steps for the change that they lead to.
func (t *Tracer) wait(steps ...step) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, steps...)
	if n := len(t.pending) - maxPending; n > 0 {
		t.pending = slices.Delete(t.pending, 0, n)
	}
}

// Published is a set that was published.
type Published struct {
	Began    time.Time         // when its compilation began
	Compiled time.Time         // when its compilation ended
	Ended    time.Time         // when it was passed to the streams
	Versions map[string]string // of filters, by name
	Coming   bool              // modules are still being fetched
}

// Published records a set. The trace of a change begins only here, because most of what is
// read or fetched does not lead to a change.
func (t *Tracer) Published(p Published) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := map[string]string{}
	for name, v := range p.Versions {
		if v != "" && t.versions[name] != v {
			changed[name] = v
		}
	}
	t.versions = maps.Clone(p.Versions)
	t.pending = slices.DeleteFunc(t.pending, func(s step) bool { return s.end.Before(p.Ended.Add(-maxAge)) && !(s.read && p.Coming) })
	if len(changed) == 0 && (p.Coming || len(t.pending) == 0) {
		return
	}
	t.begin(p, changed)
	// The missing modules belong to the same read of the directory.
	t.pending = slices.DeleteFunc(t.pending, func(s step) bool { return !s.read || !p.Coming })
}
