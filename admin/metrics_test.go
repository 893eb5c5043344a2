package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"go.yaml.in/yaml/v3"

	"wasmxds/module"
	"wasmxds/module/serve"
	"wasmxds/rollout"
	"wasmxds/signal"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// measured returns a Server with known values of all metrics.
func measured() *Server {
	s := New(Options{
		Version: "v1.2.3", Fleet: someFleet(), Now: func() time.Time { return noon }, Rollouts: someRollouts(),
		Sources: Sources{
			XDS: func() xds.Stats {
				return xds.Stats{Streams: 4, Moved: 9, Requests: 50, Bytes: 6000,
					Responses: map[string]int64{"ECDS": 7}, NACKs: map[string]int64{"ECDS": 2}}
			},
			Downloads: func() serve.Stats {
				return serve.Stats{Open: 1, Waiting: 2, Done: 3, Aborted: 4, Bytes: 5, NotFound: 6, Refused: 7}
			},
			Signals: func() signal.Totals {
				return signal.Totals{Streams: 1, Alarms: 2, Samples: 3, Unwatched: 4, Dropped: 5, Foreign: 6}
			},
			Spread:       func() (map[string]int, float64) { return map[string]int{"a": 4, "b": 7}, 5.5 },
			Store:        func(context.Context) (int, int64, error) { return 2, 1234, nil },
			Certificates: func() map[string]time.Time { return map[string]time.Time{"server.crt": noon.Add(24 * time.Hour)} },
			Unsaved:      func() bool { return true },
		},
	})
	s.Loaded(someLoaded())
	s.RolloutTold(rollout.Told{State: rollout.Stopped, Cause: rollout.ByCrashes})
	s.RolloutTold(rollout.Told{State: rollout.Stopped}) // its Envoys are back
	s.RolloutTold(rollout.Told{State: rollout.Paused, Cause: rollout.SignalsJudge})
	s.RolloutTold(rollout.Told{State: rollout.Paused, Cause: rollout.ByHand})
	s.RolloutTold(rollout.Told{State: rollout.Stopped, Cause: rollout.ByHand})
	o := s.Observer()
	o.Fetched(module.Fetch{Scheme: "https", Took: 50 * time.Millisecond})
	o.Fetched(module.Fetch{Scheme: "https", Took: 2 * time.Second, Err: errors.New("refused")})
	o.DryRun("hello", 5*time.Millisecond, nil)
	o.DryRun("hello", time.Second, errors.New("it traps"))
	changed := noon.Add(-time.Minute)
	for _, w := range []struct {
		stage swap.Stage
		to    string
		after time.Duration
	}{
		{swap.ChangePrimed, "b2", 70 * time.Millisecond},
		{swap.ChangeSwapped, "b2", 80 * time.Millisecond},
		{swap.ChangeSwapped, "nobody knows", time.Second},
		{swap.ChangeRefused, "b2", time.Second},
		{swap.ChangeSuperseded, "b2", time.Second},
		{swap.ChangeCrashed, "b2", time.Second},
		{swap.ChangeReplaced, "b2", time.Second},
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

// TestTitlesAreBounded checks the titles of changes of thousands of
// definitions.
func TestTitlesAreBounded(t *testing.T) {
	for title, want := range map[string]string{
		"hello": "hello", strings.Repeat("a", maxTitle): strings.Repeat("a", maxTitle), strings.Repeat("a", maxTitle+1): strings.Repeat("a", maxTitle) + "…",
		strings.Repeat("a", maxTitle-1) + "éa": strings.Repeat("a", maxTitle-1) + "…",
	} {
		if got := titleOf(title); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestMetricsAreDocumented checks, or with -update writes, the table in
// docs/watching.md.
func TestMetricsAreDocumented(t *testing.T) {
	const file, head = "../docs/watching.md", "| metric | type | labels | what |\n| --- | --- | --- | --- |\n"
	families, err := measured().registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "wasmxds_") {
			continue
		}
		values := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if have := values[l.GetName()]; !slices.Contains(have, l.GetValue()) {
					values[l.GetName()] = append(have, l.GetValue())
				}
			}
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n",
			f.GetName(), strings.ToLower(f.GetType().String()), labels(values), strings.TrimSuffix(f.GetHelp(), "."))
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), head)
	if !found {
		t.Fatalf("%s has no table of metrics", file)
	}
	rows, after, _ := strings.Cut("\n"+rest, "\n\n")
	if *update {
		if err := os.WriteFile(file, []byte(before+head+table.String()+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.TrimPrefix(rows, "\n")+"\n", table.String()); diff != "" {
		t.Errorf("%s (-there +metrics; -update writes it):\n%s", file, diff)
	}
}

// labels returns the names of a metric's labels, with their values if these do
// not depend on the scene.
func labels(values map[string][]string) string {
	names := slices.Sorted(maps.Keys(values))
	for i, name := range names {
		if name == "state" || name == "outcome" {
			names[i] += ": `" + strings.Join(values[name], "` `") + "`"
		}
	}
	return strings.Join(names, "; ")
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

// TestMonitoringExamples checks that the dashboard and the alerts use existing
// metrics.
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

// TestAlertsAreRules checks that Prometheus can read the alerts: one mistake in
// YAML, and it reads none of them.
func TestAlertsAreRules(t *testing.T) {
	for _, file := range []string{"alerts.yaml", "alerts_test.yaml", "prometheus.yaml"} {
		b, err := os.ReadFile(filepath.Join("../examples/monitoring", file))
		if err != nil {
			t.Fatal(err)
		}
		var of struct {
			Groups []struct {
				Name  string
				Rules []struct {
					Alert, Expr, For    string
					Labels, Annotations map[string]string
				}
			}
		}
		if err := yaml.Unmarshal(b, &of); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if file != "alerts.yaml" {
			continue
		}
		seen := map[string]bool{}
		for _, g := range of.Groups {
			for _, r := range g.Rules {
				if seen[r.Alert] || r.Expr == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
					t.Errorf("%s: incomplete or there twice: %+v", file, r)
				}
				seen[r.Alert] = true
			}
		}
		if len(seen) < 10 {
			t.Errorf("%s has %d alerts", file, len(seen))
		}
	}
}

// TestFirstCrashIsAnIncrease checks that the counter of a filter's crashes is there
// before the first one, and ends with the filter.
func TestFirstCrashIsAnIncrease(t *testing.T) {
	s := newServer(someFleet())
	want := func(what string, want ...string) {
		t.Helper()
		_, text := get(t, s.Handler(), "/metrics")
		got := regexp.MustCompile(`(?m)^wasmxds_vm_crashes_total.*$`).FindAllString(text, -1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	want("before the first set")
	s.Loaded(someLoaded())
	want("of a filter that runs", `wasmxds_vm_crashes_total{filter="hello"} 0`)
	s.Swapped(xds.Swap{Node: "edge-1", At: noon, Change: swap.Change{Filter: "hello", Stage: swap.ChangeCrashed}})
	want("after a crash", `wasmxds_vm_crashes_total{filter="hello"} 1`)
	s.Loaded(someLoaded())
	want("after another change", `wasmxds_vm_crashes_total{filter="hello"} 1`)
	none := someLoaded()
	none.Set = &module.Set{}
	s.Loaded(none)
	want("after it was removed")
}
