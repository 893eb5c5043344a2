package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collecting has serve find a collector, and gives what waits until spans of these
// names have come.
func collecting(t *testing.T) (arrive func(names ...string)) {
	t.Helper()
	sent := make(chan *collector.ExportTraceServiceRequest, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
		if err := errors.Join(err, proto.Unmarshal(b, req)); err != nil {
			t.Error(err)
		}
		sent <- req
	}))
	t.Cleanup(s.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	seen := map[string]bool{}
	return func(names ...string) {
		t.Helper()
		missing := func(name string) bool { return !seen[name] }
		for deadline := time.After(time.Minute); slices.ContainsFunc(names, missing); {
			select {
			case req := <-sent:
				for _, res := range req.ResourceSpans {
					for _, scope := range res.ScopeSpans {
						for _, span := range scope.Spans {
							seen[span.Name] = true
						}
					}
				}
			case <-deadline:
				t.Fatalf("of the spans %q only %v came", names, seen)
			}
		}
	}
}

// TestServeSendsTraces has a filter swapped by a server that is given a
// collector: the way of the change arrives there.
func TestServeSendsTraces(t *testing.T) {
	arrive := collecting(t)
	swapOnce(t).end(t)
	arrive("change", "wait for quiet", "read and parse", "fetch and verify", "dry run", "compile", "publish", "filter hello", "swap")
}

// TestServeRollsOut has a change stopped by hand in its first wave, after its
// Envoy has got it: it has what was before again, and the metrics and a trace tell
// of it.
func TestServeRollsOut(t *testing.T) {
	arrive := collecting(t)
	token := filepath.Join(t.TempDir(), "operate.token")
	if err := os.WriteFile(token, []byte("0123456789abcdef-operate"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, ack := swapUnder(t, map[string]string{
		"careful.yaml": "kind: Rollout\nname: careful\nmatch: {definitions: [\"*\"]}\nwaves: [1, 100%]\nbake: 10m\n",
	}, "--operate-token-file", token)
	r.admin(t, "/api/v1/rollouts", http.StatusOK, `"state": "rolling"`)
	r.admin(t, "/metrics", http.StatusOK, `wasmxds_rollouts{state="rolling"} 1`)
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	var out, errs bytes.Buffer
	tell := func(args ...string) int {
		out.Reset()
		errs.Reset()
		return run(ctx, append([]string{"rollout", "--admin", "http://" + r.Admin}, args...), os.Environ(), &out, &errs)
	}
	if code := tell("stop"); code != exitUnreachable || !strings.Contains(errs.String(), "401") {
		t.Errorf("without the token: %d %s", code, errs.String())
	}
	if code := tell("stop", "--admin-token-file", token); code != 0 || !strings.HasPrefix(out.String(), "stopped hello (") {
		t.Fatalf("%d %s%s", code, out.String(), errs.String())
	}
	ack() // of what was before
	r.admin(t, "/metrics", http.StatusOK, `wasmxds_rollout_stopped_total{reason="hand"} 1`)
	r.admin(t, "/api/v1/rollouts", http.StatusOK, "its 1 Envoy is back on the previous version")
	if code := tell("show", "--watch"); code != exitWrong || !strings.Contains(errs.String(), "hello is stopped: stopped in wave 1 of 2") {
		t.Errorf("%d %s%s", code, out.String(), errs.String())
	}
	errs.Reset()
	if code := run(ctx, []string{"status", "--admin", "http://" + r.Admin, "--wait", "--timeout", "8s"}, os.Environ(), &out, &errs); code != exitWrong ||
		!strings.Contains(errs.String(), "the change of hello was stopped: stopped in wave 1 of 2") {
		t.Errorf("status --wait: %d %s", code, errs.String())
	}
	r.end(t)
	arrive("rollout hello", "wave 1: 1 Envoy")
}
