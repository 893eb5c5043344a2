package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wasmxds/admin"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

func TestPrintDraining(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(until time.Time) *swap.Draining { return &swap.Draining{Since: now, Until: until} }
	node := func(id string, filter, listener *swap.Draining) xds.NodeStatus {
		return xds.NodeStatus{ID: id, Filters: []swap.FilterStatus{{Name: "hello", Draining: filter}, {Name: "other"}},
			Listeners: []swap.ListenerStatus{{Name: "web", Draining: listener}}}
	}
	first, second := now.Add(time.Minute), now.Add(10*time.Minute)
	var many []xds.NodeStatus
	for i := range 7 {
		many = append(many, node(fmt.Sprint("edge-", i), at(first), nil))
	}
	for _, c := range []struct {
		title, filter string
		nodes         []xds.NodeStatus
		want          string
	}{
		{"none", "", []xds.NodeStatus{node("edge-1", nil, nil)}, "  older connections were not drained until just now\n"},
		{"the last one counts", "", []xds.NodeStatus{node("edge-1", at(first), nil), node("edge-2", nil, nil), node("edge-3", nil, at(second))},
			"  2 Envoys with connections that are not drained, until 12:10:00 at the latest: edge-1, edge-3\n"},
		{"one filter alone", "hello", []xds.NodeStatus{node("edge-1", at(first), nil), node("edge-3", nil, at(second))},
			"  1 Envoy with connections that are not drained, until 12:01:00 at the latest: edge-1\n"},
		{"another filter", "other", []xds.NodeStatus{node("edge-1", at(first), at(second))}, "  older connections were not drained until just now\n"},
		{"not known of one", "", []xds.NodeStatus{node("edge-1", at(first), nil), node("edge-2", &swap.Draining{}, nil)},
			"  2 Envoys with connections that are not drained, until when is not known: edge-1, edge-2\n"},
		{"tomorrow", "", []xds.NodeStatus{node("edge-1", at(now.Add(23*time.Hour)), nil)},
			"  1 Envoy with connections that are not drained, until 2026-03-02 11:00:00 at the latest: edge-1\n"},
		{"many", "", many,
			"  7 Envoys with connections that are not drained, until 12:01:00 at the latest: edge-0, edge-1, edge-2, edge-3, edge-4, …\n"},
	} {
		var got bytes.Buffer
		printDraining(&got, &admin.Status{Nodes: c.nodes}, c.filter, now)
		if got.String() != c.want {
			t.Errorf("%s:\n%swant\n%s", c.title, got.String(), c.want)
		}
	}
}

// TestWaitDrained: --wait comes back while older connections are drained,
// --wait=drained when they are, and says who is not when it gives up.
func TestWaitDrained(t *testing.T) {
	var left atomic.Int64 // of answers that tell of draining
	draining := &swap.Draining{Since: time.Now(), Until: time.Now().Add(10 * time.Minute)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		st := admin.Status{Ready: true, Envoys: xds.NodeCount{Connected: 1}, Nodes: []xds.NodeStatus{{ID: "edge-1"}}}
		if left.Add(-1) >= 0 {
			st.Envoys.Draining = 1
			st.Nodes[0].Listeners = []swap.ListenerStatus{{Name: "web", Wanted: "b2", Running: "b2", Draining: draining}}
		}
		_ = json.NewEncoder(w).Encode(st)
	}))
	defer server.Close()
	status := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"status", "--admin", server.URL}, args...), nil, &out, &errs)
		return code, out.String() + errs.String()
	}

	left.Store(1 << 30)
	if code, text := status("--wait"); code != 0 || !strings.Contains(text, "until they are drained (at most 10 min)") {
		t.Errorf("--wait: exit code %d\n%s", code, text)
	}
	if code, text := status("--wait=drained", "--timeout", "300ms"); code != exitWrong || !strings.Contains(text, "1 Envoy with connections that are not drained, until ") {
		t.Errorf("--wait=drained with a time-out: exit code %d\n%s", code, text)
	}
	left.Store(5)
	if code, text := status("--wait=drained"); code != 0 || left.Load() > 0 || strings.Contains(text, "drained") {
		t.Errorf("--wait=drained: exit code %d, %d more answers with draining\n%s", code, left.Load(), text)
	}
	left.Store(0)
	for _, off := range []string{"--wait=false", "--wait=running"} {
		if code, text := status(off); code != 0 {
			t.Errorf("%s: exit code %d\n%s", off, code, text)
		}
	}
	if code, text := status("--wait=soon"); code != exitUsage || !strings.Contains(text, "running or drained") {
		t.Errorf("--wait=soon: exit code %d\n%s", code, text)
	}
}

// TestSlowServer: --wait says what is not in place also where no answer came within the
// time, and that all is in place where that was not for long enough.
func TestSlowServer(t *testing.T) {
	for title, c := range map[string]struct {
		takes     time.Duration // to answer
		connected int
		timeout   string
		want      string
	}{
		"late":         {300 * time.Millisecond, 0, "100ms", "xds-server: not all in place within 100ms:\n  no Envoy is connected\n"},
		"late, and in": {300 * time.Millisecond, 1, "100ms", "xds-server: not all in place within 100ms: all is in place now, but was not for 500ms yet\nhint: set a longer --timeout\n"},
		"too short":    {0, 1, "200ms", "xds-server: not all in place within 200ms: all is in place now, but was not for 500ms yet\nhint: set a longer --timeout\n"},
	} {
		t.Run(title, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(c.takes) // it is what is tested
				_ = json.NewEncoder(w).Encode(admin.Status{Ready: true, Envoys: xds.NodeCount{Connected: c.connected}})
			}))
			defer server.Close()
			var out, errs bytes.Buffer
			code := run(t.Context(), []string{"status", "--admin", server.URL, "--wait", "--timeout", c.timeout}, nil, &out, &errs)
			if code != exitWrong || errs.String() != c.want {
				t.Errorf("exit code %d:\n%swant\n%s", code, &errs, c.want)
			}
		})
	}
}

// TestSilentServer: one that takes connections and does not answer is told of as that.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"status", "--admin", "http://" + l.Addr().String(), "--wait", "--timeout", "100ms"}, nil, &out, &errs)
	if want := "xds-server: no status within 100ms: http://" + l.Addr().String() + " does not answer\n"; code != exitUnreachable || errs.String() != want {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}
