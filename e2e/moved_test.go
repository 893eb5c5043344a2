package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
)

// TestMoved: an Envoy that comes from another xds-server, of another build and
// with another module server, has what it is to have: it is sent nothing. What
// changes then it fetches from where it is now.
func TestMoved(t *testing.T) {
	other := filepath.Join(t.TempDir(), "xds-server")
	buildOther(t, other)
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("1")
		f.serve()
		xds, err := harness.StartProxy(f.server.Addresses.XDS)
		must(t, err)
		t.Cleanup(func() { must(t, xds.Close()) })
		e := f.envoy(c, "edge-1", "--xds-address", xds.Address())
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "1")
		e.runs("hello")

		next, err := harness.StartServer(f.ctx, harness.ServerConfig{Program: other, Dir: filepath.Join(f.dir, "other"), Definitions: f.definitions,
			Data: filepath.Join(f.dir, "other", "data"), Args: []string{"--transport", *transport, "--module-root", f.dir}})
		must(t, err)
		t.Cleanup(next.Kill)
		f.eventually(func() error { return up(t.Context(), next) })
		xds.Target(next.Addresses.XDS)
		f.server.Kill()
		f.server = next
		e.runs("hello")
		f.eventually(func() error { return asked(t.Context(), next, 4) })
		if n := responses(t, next); n != 0 {
			t.Errorf("it was sent %v responses where it came to", n)
		}
		f.seen(l, f.hello("2"), "x-hello", "2")
		f.good(l)
	})
}

// buildOther builds xds-server with other choices where no definition says
// anything.
func buildOther(t *testing.T, program string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "otherbuild", "-o", program, "../cmd/xds-server")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build xds-server: %v\n%s", err, out)
	}
}

// up waits for the first whole set.
func up(ctx context.Context, s *harness.Server) error {
	_, err := s.Get(ctx, "/readyz")
	return err
}

// asked tells whether Envoys have sent so many requests.
func asked(ctx context.Context, s *harness.Server, n float64) error {
	got, err := metric(ctx, s, "wasmxds_xds_requests_total")
	if err == nil && got < n {
		err = fmt.Errorf("%v requests, want %v", got, n)
	}
	return err
}

func responses(t *testing.T, s *harness.Server) float64 {
	t.Helper()
	n, err := metric(t.Context(), s, "wasmxds_xds_responses_total")
	must(t, err)
	return n
}

// sent is how many responses a server has sent since it was started, by series, but for
// those that have requests sampled.
func sent(t *testing.T, s *harness.Server) map[string]string {
	t.Helper()
	metrics, err := s.Get(t.Context(), "/metrics")
	must(t, err)
	sent := map[string]string{}
	for line := range strings.Lines(string(metrics)) {
		series, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(series, "wasmxds_xds_responses_total{") && !strings.Contains(series, "RTDS") {
			sent[series] = n
		}
	}
	return sent
}

// streamsOf is how many Envoys are connected to a server.
func streamsOf(ctx context.Context, s *harness.Server) (int, error) {
	n, err := metric(ctx, s, "wasmxds_xds_streams")
	return int(n), err
}

// metric is the sum of a metric's series.
func metric(ctx context.Context, s *harness.Server, name string) (sum float64, err error) {
	b, err := s.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		series, _, _ = strings.Cut(series, "{")
		var v float64
		if series != name {
			continue
		}
		if _, err := fmt.Sscan(value, &v); err != nil {
			return 0, fmt.Errorf("read %s: %w", line, err)
		}
		sum += v
	}
	return sum, nil
}
