package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// drain is how an Envoy is told to end the connections of a listener that is
// replaced.
type drain struct {
	envoy harness.Binary
	time  time.Duration // 0: Envoy's default, 600 s
	flags []string
}

func drains() []drain {
	bound := 3 * time.Second
	if report != nil {
		bound = 10 * time.Second
	}
	var all []drain
	for _, envoy := range envoys {
		seconds := []string{"--drain-time-s", fmt.Sprint(bound.Seconds())}
		all = append(all, drain{envoy, bound, seconds}, drain{envoy, bound, append(seconds, "--drain-strategy", "immediate")})
		if report != nil {
			all = append(all, drain{envoy: envoy})
		}
	}
	return all
}

func (d drain) String() string {
	return strings.TrimSpace(d.envoy.Version + " " + strings.Join(d.flags, " "))
}

// drainCount is what became of connections of one kind, of both protocols.
type drainCount struct {
	drain
	what     string
	took     []time.Duration // from the replaced listener to the end of each
	why      []string
	open     int // as long as was watched
	watched  time.Duration
	failed   int
	requests int
}

// TestDrained: when Envoy ends the connections of a listener that is replaced:
// those that are used, those that are not, and those with a long answer.
func TestDrained(t *testing.T) {
	for _, d := range drains() {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel() // also in the report: what is timed takes seconds
			for _, n := range d.play(t) {
				t.Logf("%s: %d closed after %v (p50), %v (max), by %q; %d still open after %v; %d of %d requests failed", n.what, len(n.took),
					harness.Quantile(n.took, 0.5), harness.Quantile(n.took, 1), n.why, n.open, n.watched, n.failed, n.requests)
				report.addDrain(n)
				n.check(t)
			}
		})
	}
}

func (d drain) play(t *testing.T) []drainCount {
	const connections = 10
	f := newKeptFleet(t, combination{d.envoy, "delta"}, d.flags, nil, []string{"--spare-slots", "0"})
	watched := d.time + 2*time.Second
	if d.time == 0 {
		watched = 60 * time.Second
	}
	connect := func(config harness.ConnectionsConfig) *harness.Connections {
		config.Address, config.Header = f.at.address("web"), chainHeader
		l := harness.OpenConnections(f.ctx, config)
		t.Cleanup(l.Stop)
		return l
	}
	long := connect(harness.ConnectionsConfig{Long: connections, LongAnswer: watched + 30*time.Second, Once: true})
	quiet := connect(harness.ConnectionsConfig{HTTP1: connections, HTTP2: connections, Once: true})
	loads := []*harness.Connections{connect(harness.ConnectionsConfig{HTTP1: connections, HTTP2: connections}), quiet, long}
	f.eventually(func() error {
		for _, l := range loads[:2] {
			if n := len(l.Exchanges(0)); n < 2*connections {
				return fmt.Errorf("%d requests", n)
			}
		}
		return f.running()
	})
	replaced := f.apply(set{chain: []string{"x", "a", "b", "c"}, upstream: f.upstream.Address()})
	f.eventually(f.running)
	if d.time == 0 {
		time.Sleep(watched) // that nothing happens meanwhile is to be seen
	} else {
		f.eventually(func() error {
			for _, l := range loads {
				if left := open(l, replaced); len(left) > 0 {
					return fmt.Errorf("%d connections are open", len(left))
				}
			}
			return nil
		})
	}

	var all []drainCount
	for i, what := range []string{"used 5 times a second", "quiet", "with a long answer"} {
		n := drainCount{drain: d, what: what, watched: watched}
		for _, o := range loads[i].Opened() {
			switch {
			case o.Opened.After(replaced):
			case o.Closed.IsZero():
				n.open++
			default:
				n.took = append(n.took, o.Closed.Sub(replaced))
				if !slices.Contains(n.why, o.Why) {
					n.why = append(n.why, o.Why)
				}
			}
		}
		slices.Sort(n.why)
		for _, e := range loads[i].Exchanges(0) {
			n.requests++
			if e.Err != nil {
				n.failed++
			}
		}
		all = append(all, n)
	}
	return all
}

// check: connections that are used are ended with an answer, others when the
// time is over, and then what is under way on them fails.
func (n drainCount) check(t *testing.T) {
	used := strings.Contains(n.what, "used")
	switch {
	case used && n.failed > 0:
		t.Errorf("%s: %d requests failed", n.what, n.failed)
	case used && (n.open > 0 || slices.ContainsFunc(n.why, func(why string) bool { return why != "Connection: close" && why != "GOAWAY" })):
		t.Errorf("%s: not all were ended with an answer", n.what)
	case !used && n.time == 0 && len(n.took) > 0:
		t.Errorf("%s: some were ended", n.what)
	case !used && n.time > 0 && (n.open > 0 || slices.Min(n.took) < n.time-100*time.Millisecond):
		t.Errorf("%s: not all were ended just at the end of the time", n.what)
	}
}
