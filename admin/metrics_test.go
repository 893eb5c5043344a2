package admin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"wasmxds/module"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// measured is a Server of which every figure is known.
func measured() *Server {
	s := New(Options{
		Version: "v1.2.3", Fleet: someFleet(), Now: func() time.Time { return noon },
		Sources: Sources{
			XDS: func() xds.Stats {
				return xds.Stats{Streams: 4, Requests: 50, Bytes: 6000,
					Responses: map[string]int64{"ECDS": 7}, NACKs: map[string]int64{"ECDS": 2}}
			},
			Downloads: func() module.ServerStats {
				return module.ServerStats{Open: 1, Waiting: 2, Done: 3, Aborted: 4, Bytes: 5, NotFound: 6, Refused: 7}
			},
			Store: func(context.Context) (int, int64, error) { return 2, 1234, nil },
		},
	})
	s.Loaded(someLoaded())
	o := s.Observer()
	o.Fetched(module.Fetch{Scheme: "https", Took: 50 * time.Millisecond})
	o.Fetched(module.Fetch{Scheme: "https", Took: 2 * time.Second, Err: errors.New("refused")})
	o.DryRun("hello", 5*time.Millisecond, nil)
	changed := noon.Add(-time.Minute)
	for _, w := range []struct {
		stage swap.Stage
		to    string
		after time.Duration
	}{
		{swap.Primed, "b2", 70 * time.Millisecond},
		{swap.Swapped, "b2", 80 * time.Millisecond},
		{swap.Swapped, "nobody knows", time.Second},
		{swap.Refused, "b2", time.Second},
		{swap.Superseded, "b2", time.Second},
	} {
		s.Swapped(xds.Swap{Node: "edge-1", At: changed.Add(w.after),
			Change: swap.Change{Filter: "hello", From: "a1", To: w.to, Stage: w.stage}})
	}
	return s
}

func TestMetrics(t *testing.T) {
	s := measured()
	own := ownMetrics(t, s)
	got, err := testutil.GatherAndFormat(s.registry(), expfmt.TypeTextPlain, own...)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`goversion="[^"]*"`).ReplaceAll(got, []byte(`goversion="go"`))
	golden(t, "metrics.txt", text)
	problems, err := testutil.GatherAndLint(s.registry(), own...)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestMetricsAreServed(t *testing.T) {
	code, text := get(t, measured().Handler(), "/metrics")
	if code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	wantIn(t, text, "wasmxds_xds_streams 4", "go_goroutines", `wasmxds_envoys{state="failed"} 1`)
}

func ownMetrics(t *testing.T, s *Server) []string {
	t.Helper()
	families, err := s.registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "wasmxds_") {
			names = append(names, f.GetName())
		}
	}
	return names
}

// TestMonitoringExamples sees to it that the dashboard and the alerts ask for
// metrics that there are.
func TestMonitoringExamples(t *testing.T) {
	known := map[string]bool{}
	for _, name := range ownMetrics(t, measured()) {
		known[name] = true
	}
	files, err := filepath.Glob("../examples/monitoring/*.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	asked := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`wasmxds_[a-z_]+`).FindAllString(string(b), -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
			asked++
			if !known[name] && !known[base] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
	if asked == 0 {
		t.Error("the examples ask for nothing")
	}
}
