package trace

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func after(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }

// traced plays a story to a Tracer, and returns the spans as lines: indented under their
// parents, sorted by start, with times in milliseconds.
func traced(t *testing.T, o Options, story func(t *Tracer, at func(ms int))) string {
	t.Helper()
	now := noon
	kept := &keeper{}
	o.Exporter = kept
	o.Now = func() time.Time { return now }
	tracer, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	story(tracer, func(ms int) { now = after(ms) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tracer.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return kept.tree()
}

// keeper is an exporter that keeps its spans after shutdown.
type keeper struct {
	tracetest.InMemoryExporter
	spans tracetest.SpanStubs
}

func (k *keeper) Shutdown(ctx context.Context) error {
	k.spans = k.GetSpans()
	return k.InMemoryExporter.Shutdown(ctx)
}

func (k *keeper) tree() string {
	slices.SortStableFunc(k.spans, func(a, b tracetest.SpanStub) int {
		if c := a.StartTime.Compare(b.StartTime); c != 0 {
			return c
		}
		return a.EndTime.Compare(b.EndTime)
	})
	var out strings.Builder
	var below func(parent tracetest.SpanStub, indent string)
	below = func(parent tracetest.SpanStub, indent string) {
		for _, s := range k.spans {
			if s.Parent.SpanID() != parent.SpanContext.SpanID() || s.Parent.TraceID() != parent.SpanContext.TraceID() && parent.Name != "" {
				continue
			}
			fmt.Fprintf(&out, "%s%s %d-%d", indent, s.Name, s.StartTime.Sub(noon).Milliseconds(), s.EndTime.Sub(noon).Milliseconds())
			for _, a := range s.Attributes {
				if k := string(a.Key); k == "wasmxds.node" || strings.HasPrefix(k, "wasmxds.envoys.") {
					fmt.Fprintf(&out, " %s=%s", strings.TrimPrefix(k, "wasmxds."), a.Value.String())
				}
			}
			if s.Status.Description != "" {
				fmt.Fprintf(&out, " (%s)", s.Status.Description)
			}
			out.WriteByte('\n')
			below(s, indent+"  ")
		}
	}
	below(tracetest.SpanStub{}, "")
	return out.String()
}

func publish(began int, versions string, coming bool) Published {
	p := Published{Began: after(began), Compiled: after(began + 2), Ended: after(began + 3), Versions: map[string]string{}, Coming: coming}
	for _, f := range strings.Fields(versions) {
		name, v, _ := strings.Cut(f, "=")
		p.Versions[name] = v
	}
	return p
}

func swapped(node, version, stage string, at int) Swap {
	return Swap{Node: node, Filter: "hello", To: version, Stage: stage, At: after(at)}
}

func read(changed int) Read {
	return Read{Changed: after(changed), Began: after(changed + 20), Ended: after(changed + 22), Files: 1}
}

func TestTraces(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int
		story func(*Tracer, func(int))
		want  string
	}{
		{"a swap", 0, func(tr *Tracer, at func(int)) {
			tr.Read(read(0))
			tr.Published(publish(25, "hello=v1", false)) // at startup: v1 is new
			tr.Read(read(1000))
			tr.Published(publish(1025, "hello=v1", true)) // v2 is pending: no trace yet
			at(1060)
			tr.Fetched("https://modules/hello.wasm", "abc", 40*time.Millisecond, nil)
			at(1070)
			tr.DryRun("hello", 8*time.Millisecond, nil)
			tr.Published(publish(1071, "hello=v2", false))
			tr.Swapped(swapped("a", "v2", "primed", 1100))
			tr.Swapped(swapped("a", "v2", "swapped", 1105))
			tr.Swapped(swapped("a", "v3", "swapped", 1106)) // never published
		}, `
change 0-28
  wait for quiet 0-20
  read and parse 20-22
  compile 25-27
  publish 27-28
  filter hello 28-28
change 1000-1105
  wait for quiet 1000-1020
  read and parse 1020-1022
  fetch and verify 1020-1060
  dry run 1062-1070
  compile 1071-1073
  publish 1073-1074
  filter hello 1074-1105 envoys.primed=1 envoys.swapped=1
    prime 1074-1100 node=a
    swap 1100-1105 node=a
`},
		{"many Envoys", 2, func(tr *Tracer, _ func(int)) {
			tr.Published(publish(0, "hello=v1", false))
			tr.Published(publish(0, "hello=v1", false)) // no change
			tr.Published(publish(10, "hello=v2", false))
			for i, node := range []string{"a", "b", "c", "d"} {
				tr.Swapped(swapped(node, "v2", "primed", 20+i))
			}
			for i, node := range []string{"d", "c", "b"} {
				tr.Swapped(swapped(node, "v2", "swapped", 30+i))
			}
			tr.Swapped(swapped("a", "v2", "refused", 40))
		}, `
change 0-3
  compile 0-2
  publish 2-3
  filter hello 3-3
change 10-40
  compile 10-12
  publish 12-13
  filter hello 13-40 envoys.primed=4 envoys.refused=1 envoys.swapped=3 (Envoys did not take it)
    prime 13-20 node=a
    prime 13-21 node=b
    refused 20-40 node=a (the Envoy goes on with what it had)
    swap 21-32 node=b
`},
		{"a module that can't be had", 0, func(tr *Tracer, at func(int)) {
			tr.Read(read(0))
			at(30)
			tr.Fetched("https://modules/hello.wasm", "", 5*time.Millisecond, errors.New("404"))
			tr.Published(publish(31, "", false))
		}, `
change 0-34 (fetch and verify: 404)
  wait for quiet 0-20
  read and parse 20-22
  fetch and verify 25-30 (404)
  compile 31-33
  publish 33-34
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := traced(t, Options{Nodes: c.nodes}, c.story)
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBounds checks that what never ends, or comes to nothing, doesn't use ever more
// memory.
func TestBounds(t *testing.T) {
	traced(t, Options{}, func(tr *Tracer, _ func(int)) {
		for i := range 10 * maxPending {
			tr.Read(read(i))
		}
		if len(tr.pending) > maxPending {
			t.Errorf("%d steps wait", len(tr.pending))
		}
		for i := range 10 * maxOpen {
			tr.Published(publish(i, fmt.Sprintf("hello=v%d", i), false))
		}
		if len(tr.open) > maxOpen {
			t.Errorf("%d changes are open", len(tr.open))
		}
		tr.sweep(after(1_000_000))
		if len(tr.open) > 0 {
			t.Errorf("%d changes are open after a long silence", len(tr.open))
		}
	})
}

func TestNilTracesNothing(t *testing.T) {
	var tr *Tracer
	tr.Read(Read{})
	tr.Fetched("", "", 0, nil)
	tr.DryRun("", 0, nil)
	tr.Published(Published{})
	tr.Swapped(Swap{})
	if err := tr.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConfigured(t *testing.T) {
	for _, c := range []struct {
		env  string
		want bool
		err  bool
	}{
		{env: ""},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", want: true},
		{env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces", want: true},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_SDK_DISABLED=true"},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_TRACES_EXPORTER=none"},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc", err: true},
	} {
		env := map[string]string{}
		for _, e := range strings.Fields(c.env) {
			k, v, _ := strings.Cut(e, "=")
			env[k] = v
		}
		got, err := Configured(func(k string) string { return env[k] })
		if got != c.want || (err != nil) != c.err {
			t.Errorf("%s: %t, %v", c.env, got, err)
		}
	}
}

// TestSent checks that spans reach a collector that the environment configures.
func TestSent(t *testing.T) {
	got := make(chan *collector.ExportTraceServiceRequest, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			zipped, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = zipped
		}
		b, err := io.ReadAll(body)
		req := &collector.ExportTraceServiceRequest{}
		if err := errors.Join(err, proto.Unmarshal(b, req)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		got <- req
	}))
	defer s.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_SERVICE_NAME", "edge-xds")
	tr, err := New(t.Context(), Options{Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	tr.Published(publish(0, "hello=v1", false))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.Run(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case req := <-got:
		text := req.String()
		for _, want := range []string{"edge-xds", "v1.2.3", "filter hello", "compile"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %s", want, text)
			}
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing was sent")
	}
	http.DefaultClient.CloseIdleConnections()
}
