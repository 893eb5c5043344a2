package main

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestServeSendsTraces has a filter swapped by a server that is given a
// collector: the way of the change arrives there.
func TestServeSendsTraces(t *testing.T) {
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
	defer s.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	swapOnce(t).end(t)
	seen := map[string]bool{}
	for deadline := time.After(10 * time.Second); !seen["swap"] || !seen["change"]; {
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
			t.Fatalf("no whole trace was sent: %v", seen)
		}
	}
	for _, name := range []string{"wait for quiet", "read and parse", "fetch and verify", "dry run", "compile", "publish", "filter hello", "swap"} {
		if !seen[name] {
			t.Errorf("no span %q in %v", name, seen)
		}
	}
}
