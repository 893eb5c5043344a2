package e2e

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

var (
	swaps      = flag.Int("swaps", 5, "swaps of a module, a configuration or both in one scene; other scenes have a fifth of them, memory's four times as many")
	reportFile = flag.String("report", "", "run the scenes of the report and write their counts to this file, between its markers")
)

// rounds is how often the other scenes do what they do.
func rounds() int { return max(5, *swaps/5) }

// reported are the tests whose requests the report counts.
var reported = []struct{ test, what string }{
	{"TestDropIn", "a day of a directory: changed, broken, mended, a second filter, a restart of xds-server"},
	{"TestSuperseded", "each swap is overtaken by the next, most before they are primed (150 ms a fetch)"},
	{"TestAddAndRemove", "filters, listeners and routes come and go"},
	{"TestStreams", "requests that are answered for half a second, across swaps"},
	{"TestOneVMID", "two filters of one vmID whose modules differ"},
	{"TestStaticListeners", "an Envoy with listeners of its own, which gets only filters; one is refused"},
	{"TestStaticListenersStruck", "the same, xds-server killed (-9) and started at 8 moments of a swap"},
	{"TestServerKilled", "xds-server killed (-9) and started at 8 moments of a swap"},
	{"TestConnectionCut", "the stream cut at 8 moments of a swap"},
	{"TestDownloadCut", "the download cut at 8 moments of a swap"},
	{"TestLateDownload", "downloads that arrive long after they were sent"},
	{"TestEnvoyKilled", "Envoy killed (-9) and started at 8 moments of a swap; requests to its new port"},
	{"TestServerAway", "xds-server gone; an Envoy starts meanwhile"},
	{"TestOriginFaults", "the origin: 404, 500, hanging up, truncating, HTML, other bytes, slow"},
	{"TestDirect", "Envoy fetches from the origin itself, which is slow, then 404"},
	{"TestLastGood", "origin gone and definition broken; xds-server starts anew, an Envoy starts fresh"},
	{"TestModuleRefused", "modules that trap or refuse as they start, an import that is missing, no ABI"},
	{"TestNeverGood", "a filter that was never good, failing closed and open"},
	{"TestNetworkFilter", "a network filter: new modules, bad ones, a second one; xds-server killed (-9). Lines on connections, of which five stay open"},
	{"TestRouteFilters", "a filter is off on one route and has another configuration on another; module, configuration and routes change, one is refused; xds-server killed (-9)"},
	{"TestRefusedTakesNoOther", "a refused filter beside others that change"},
	{"TestLargeModule", "a module of 64 MiB, and one that is too large"},
	{"TestFullDisk", "no room for modules; a restart meanwhile"},
	{"TestNoDirectory", "the directory gone; a restart meanwhile"},
	{"TestKeptStruck", "filters and routes come, move and go on connections that stay open; xds-server is killed (-9), stopped or cut off, or the Envoy comes to another, in the middle"},
	{"TestSparesUsedUp", "more filters are added than there are spare slots for, until the listener that was replaced is drained"},
	{"TestTLS", "all by TLS, certificates renewed"},
}

// report is what the tests add to; nil when none is asked for.
var report *counts

// counts are gathered from all tests. Safe for concurrent use.
type counts struct {
	begin string // when, and the machine's load

	mu       sync.Mutex
	ours     []swapCount
	theirs   map[string]swapResult // by swapCount.key
	memories []memoryCount
	kept     map[string]tallies // by subject and combination
	drains   []drainCount
	scenes   map[string]*sceneCount // by test
}

type swapCount struct {
	scene string
	c     combination
	swapResult
}

func (s swapCount) key() string { return s.scene + " " + s.c.String() }

type memoryCount struct {
	c              combination
	swaps          int
	vms, vmsAfter  int64
	rss, rssAfter  int64 // bytes
	harness.Counts       // of requests
}

type sceneCount struct {
	envoys []string
	harness.Counts
}

func newCounts(begin string) *counts {
	return &counts{begin: begin, theirs: map[string]swapResult{}, kept: map[string]tallies{}, scenes: map[string]*sceneCount{}}
}

// startReport restricts the tests to those of the report, unless -test.run does.
func startReport() (*counts, error) {
	n := newCounts(moment())
	run := flag.Lookup("test.run")
	if run.Value.String() != "" {
		return n, nil
	}
	names := []string{"TestSwaps", "TestNaiveSwaps", "TestMemory", "TestKept", "TestReplaced", "TestNaiveKept", "TestDrained"}
	for _, r := range reported {
		names = append(names, r.test)
	}
	return n, run.Value.Set("^(" + strings.Join(names, "|") + ")$")
}

// moment is the time and how busy the machine is.
func moment() string {
	now := time.Now().UTC().Format("2006-01-02 15:04 UTC")
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		now += ", load average " + strings.Fields(string(load))[0]
	}
	return now
}

func (n *counts) addOurs(scene string, c combination, r swapResult) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ours = append(n.ours, swapCount{scene, c, r})
}

func (n *counts) addTheirs(scene string, c combination, r swapResult) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.theirs[swapCount{scene: scene, c: c}.key()] = r
}

func (n *counts) addMemory(m memoryCount) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.memories = append(n.memories, m)
}

// addScene adds the requests of one load of a test.
func (n *counts) addScene(t *testing.T, c harness.Counts) {
	if n == nil {
		return
	}
	test, envoy, found := strings.Cut(t.Name(), "/")
	if envoy, _, _ = strings.Cut(envoy, "/"); !found {
		envoy = newest().String()
	}
	envoy = strings.ReplaceAll(envoy, "_", " ")
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.scenes[test]
	if s == nil {
		s = &sceneCount{}
		n.scenes[test] = s
	}
	if !slices.Contains(s.envoys, envoy) {
		s.envoys = append(s.envoys, envoy)
	}
	s.Requests, s.Refused, s.Failed, s.Unfiltered = s.Requests+c.Requests, s.Refused+c.Refused, s.Failed+c.Failed, s.Unfiltered+c.Unfiltered
}

const reportEnd = "<!-- end -->\n"

// reportBegin is the marker before a table.
func reportBegin(table string) string { return "<!-- make swap-report: " + table + " -->\n" }

// write puts the tables between their markers in a file. One of which no test
// was run, with -test.run, stays as it is.
func (n *counts) write(path string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(b)
	when := fmt.Sprintf("\n%s/%s, %d cores, `-swaps %d`, from %s to %s:\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *swaps, n.begin, moment())
	for _, table := range []struct{ name, content string }{{"swaps", n.swapTable()}, {"memory", n.memoryTable()}, {"kept", n.keptTable()}, {"drains", n.drainTable()}, {"scenes", n.sceneTable()}} {
		if table.content == "" {
			continue
		}
		before, rest, begins := strings.Cut(text, reportBegin(table.name))
		_, after, ends := strings.Cut(rest, reportEnd)
		if !begins || !ends {
			return fmt.Errorf("%s lacks the markers %q and %q", path, reportBegin(table.name), reportEnd)
		}
		text = before + reportBegin(table.name) + when + table.content + "\n" + reportEnd + after
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func (n *counts) swapTable() string {
	if len(n.ours) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| what changes | Envoy | swaps | requests | failed | unfiltered | fetches a swap | file → new header: p50 | max | naive: swaps | never seen | requests | failed | unfiltered |\n" +
		"| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n")
	for _, o := range n.ours {
		c, their := o.counts, n.theirs[o.key()]
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %.2f | %d ms | %d ms |", o.scene, o.c, o.swaps, c.Requests, c.Refused+c.Failed, c.Unfiltered,
			float64(o.fetches)/float64(o.swaps), harness.Quantile(o.took, 0.5).Milliseconds(), harness.Quantile(o.took, 1).Milliseconds())
		fmt.Fprintf(&b, " %d | %d | %d | %d | %d |\n", their.swaps, their.lost, their.counts.Requests, their.counts.Refused+their.counts.Failed, their.counts.Unfiltered)
	}
	return b.String()
}

func (n *counts) memoryTable() string {
	if len(n.memories) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| Envoy | swaps | requests | failed | unfiltered | VMs before → after | resident memory before → after |\n| --- | --: | --: | --: | --: | --: | --: |\n")
	for _, m := range n.memories {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d → %d | %.1f → %.1f MiB |\n", m.c, m.swaps, m.Requests, m.Refused+m.Failed, m.Unfiltered,
			m.vms, m.vmsAfter, mib(m.rss), mib(m.rssAfter))
	}
	return b.String()
}

// sceneTable has a row for each test that was run.
func (n *counts) sceneTable() string {
	if len(n.scenes) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| what happens | Envoy | test | requests | failed | unfiltered |\n| --- | --- | --- | --: | --: | --: |\n")
	for _, r := range reported {
		s := n.scenes[r.test]
		if s == nil {
			continue
		}
		where := "all"
		if len(s.envoys) < 2*len(envoys) {
			where = strings.Join(s.envoys, ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %d | %d | %d |\n", r.what, where, r.test, s.Requests, s.Refused+s.Failed, s.Unfiltered)
	}
	return b.String()
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
