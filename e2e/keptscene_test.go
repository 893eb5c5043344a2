package e2e

import (
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// keptConnections is how many there are.
func keptConnections() int {
	if report != nil {
		return 200
	}
	return 40
}

// TestReplaced: without spare slots the listener is replaced, and connections
// that were open go on as they were. That TestKept notices such things is seen
// here.
func TestReplaced(t *testing.T) {
	play := func(t *testing.T, c combination) {
		k := keep(t, newKeptFleet(t, c, nil, nil, []string{"--spare-slots", "0"}), keptConnections())
		report.addKept(byListener, c, k.slowly())
		// 1.36.2 closes those that are used before anybody could say that it runs.
		if n := k.tally()[added]; n.closed+n.never == 0 || c.envoy == newest().envoy && n.unfiltered == 0 {
			t.Errorf("no connection went on without the filter: %v", n)
		}
	}
	if report != nil {
		eachCombination(t, play)
	} else {
		play(t, newest())
	}
}

// slowly makes a few changes of each kind, waits a while for each, and says what
// came of them.
func (k *kept) slowly() tallies {
	k.t.Helper()
	k.giveUp = 1200 * time.Millisecond
	cycles := 1
	if report != nil {
		k.giveUp, cycles = 4*time.Second, 2
	}
	for i := range cycles {
		for _, s := range k.cycle(i) {
			k.change(s, nil)
		}
	}
	all := k.stop()
	k.t.Log(all)
	return all
}

// naiveKept is the naive server's Envoy.
type naiveKept struct {
	*naiveFleet
	second *harness.Upstream
}

func (n *naiveKept) listeners() []string  { return []string{"web"} }
func (n *naiveKept) upstreams() [2]string { return [2]string{n.upstream.Address(), n.second.Address()} }
func (n *naiveKept) envoy() *edge         { return n.edge }

func (n *naiveKept) apply(s set) time.Time {
	n.t.Helper()
	return n.pushTo(s.upstream, chainSpecs(s.chain)...)
}

// says: a server that says nothing is given as long as is settled elsewhere.
func (n *naiveKept) says(*set) (filters, all bool, err error) { return true, true, nil }
func (n *naiveKept) settle() time.Duration                    { return 500 * time.Millisecond }

func chainSpecs(names []string) []filterSpec {
	var all []filterSpec
	for _, name := range names {
		all = append(all, filterSpec{name: name, module: chainFilter, config: name})
	}
	return all
}

// TestNaiveKept: the server that one writes first replaces its listener.
func TestNaiveKept(t *testing.T) {
	play := func(t *testing.T, c combination) {
		n := &naiveKept{naiveFleet: newNaiveFleet(t, c, chainSpecs([]string{"a", "b", "c"})...)}
		var err error
		n.second, err = harness.StartUpstream()
		must(t, err)
		t.Cleanup(func() { must(t, n.second.Close()) })
		k := keep(t, n, keptConnections())
		report.addKept(byNaive, c, k.slowly())
		if all := k.tally(); all.bad() == 0 {
			t.Errorf("all went well: %v", all)
		}
	}
	if report != nil {
		eachCombination(t, play)
	} else {
		play(t, newest())
	}
}
