package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestNodesAreBounded checks that clients that connect under ever new names, with many labels,
// take only so much, that the oldest are forgotten first, and that the count is true.
func TestNodesAreBounded(t *testing.T) {
	m, _ := New(Options{}, nil)
	now := time.Unix(0, 0)
	m.Step(now, Wanted{&module.Set{}})
	labels := map[string]string{"l": strings.Repeat("l", 60<<10)}
	const most = 3 * mostAway / (60 << 10)
	for i := range most {
		n := definition.Node{ID: fmt.Sprint(i), Labels: labels}
		if i%3 == 0 {
			m.Step(now, Expected{n})
			continue
		}
		m.Step(now, Connected{n})
		if i%100 != 1 { // else it stays
			m.Step(now, Gone{ID: n.ID})
		}
		if m.fleet.away > mostAway {
			t.Fatalf("%d bytes", m.fleet.away)
		}
	}
	there, total := 0, 0
	for _, n := range m.fleet.nodes {
		if n.connected {
			there++
		} else {
			total += sizeOf(&n.Node)
		}
	}
	if total != m.fleet.away || total < mostAway*9/10 || there != m.fleet.connected {
		t.Errorf("%d bytes are counted as %d; %d nodes are connected, counted as %d", total, m.fleet.away, there, m.fleet.connected)
	}
	if m.fleet.nodes["0"] != nil || m.fleet.nodes[fmt.Sprint(most-2)] == nil {
		t.Error("not the oldest went")
	}
	for _, n := range m.fleet.nodes { // some come back, the others do not
		if len(m.fleet.nodes)%2 == 0 {
			m.Step(now, Connected{n.Node})
		}
	}
	m.Step(now.Add(AwaitFor), Tick{})
	if m.fleet.away != 0 || len(m.fleet.nodes) != m.fleet.connected {
		t.Errorf("%d bytes are left, of none that is away", m.fleet.away)
	}
}

// TestEarlyIsForgotten checks that early reports of Envoys that do not come back are not kept
// for as long as nothing can be saved.
func TestEarlyIsForgotten(t *testing.T) {
	m, _ := New(Options{}, nil)
	now := time.Unix(0, 0)
	for i := range 10 {
		n := definition.Node{ID: fmt.Sprint(i)}
		m.Step(now, Connected{n})
		m.Step(now, Settled{ID: n.ID, Choice: "c"})
		m.Step(now, Refused{ID: n.ID, Choice: "c", Key: Key{FilterKind, "hello"}})
		m.Step(now, Gone{ID: n.ID})
	}
	if len(m.early) != 10 {
		t.Fatalf("of %d is something known early", len(m.early))
	}
	if m.Step(now.Add(AwaitFor), Tick{}); len(m.early) != 0 {
		t.Errorf("of %d is still something known", len(m.early))
	}
}

// TestRefusedIsBounded checks that the Envoys that reject a change are not counted without end
// while that does not stop it.
func TestRefusedIsBounded(t *testing.T) {
	for _, most := range []int{0, 2 * mostRefused} {
		m, _ := New(Options{}, nil)
		now := time.Unix(0, 0)
		policy := &definition.Rollout{Name: "p", Definitions: []string{"*"}, Waves: []definition.Wave{{Share: 1}}, Bake: time.Hour, Stop: definition.Stop{Refused: most}}
		wanted := func(root string) Wanted {
			d := &definition.Filter{Name: "hello", RootID: root, Attach: definition.Everywhere()}
			return Wanted{&module.Set{Rollouts: []*definition.Rollout{policy}, Filters: []*module.Filter{{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: "abc"}}}}}
		}
		step := func(e Event) {
			if r := m.Step(now, e); r.Save != nil {
				m.Step(now, Saved{r.Save.Seq})
			}
		}
		step(wanted("v1"))
		node := func(i int) definition.Node { return definition.Node{ID: fmt.Sprint(i)} }
		step(Connected{node(0)})
		step(wanted("v2"))
		for i := range 3 * mostRefused {
			step(Connected{node(i)})
			step(Refused{ID: node(i).ID, Choice: m.plan.Choose(node(i)), Key: Key{FilterKind, "hello"}, Message: "no"})
		}
		c := m.open[0]
		if n := len(c.Counts.Refused); n != max(most, mostRefused) {
			t.Errorf("%d Envoys are counted", n)
		}
		if stopped := c.State == Stopped; stopped != (most > 0) {
			t.Errorf("with %d it is %s", most, c.State)
		}
	}
}

// FuzzRestore begins with any value instead of one that was saved. What can't be used is left
// out; whatever happens then can be saved, and used by the next process.
func FuzzRestore(f *testing.F) {
	written := wrote(f)
	for key, value := range written {
		f.Add(key, value)
		if strings.HasPrefix(key, openKeys) {
			for _, wave := range []string{"-1", "7"} {
				f.Add(key, []byte(strings.Replace(string(value), `"wave":1`, `"wave":`+wave, 1)))
			}
			f.Add(key, []byte(strings.Replace(string(value), `"policy":`, `"none":`, 1)))
		}
	}
	f.Add("turn", []byte("-1"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		disk := map[string][]byte{}
		for k, v := range written {
			disk[k] = v
		}
		disk[key] = value
		m, _ := New(Options{Signals: true}, disk)
		for _, c := range m.open {
			if c.Wave < 0 || c.Wave > len(c.Waves) || c.Wave > 0 && c.Policy == nil {
				t.Errorf("%s is in wave %d of %+v, policy %v", c.ID, c.Wave, c.Waves, c.Policy)
			}
		}
		now := time.Unix(1, 0)
		step := func(e Event) {
			now = now.Add(time.Second)
			for batch := m.Step(now, e).Save; batch != nil; {
				for k, v := range batch.Values {
					if disk[k] = v; v == nil {
						delete(disk, k)
					}
				}
				batch = m.Step(now, Saved{batch.Seq}).Save
			}
		}
		set := read(t, everything)
		set.Rollouts = []*definition.Rollout{{Name: "p", Definitions: []string{"*"}, Waves: []definition.Wave{{Count: 1}, {Share: 1}}, Bake: time.Minute}}
		step(Wanted{set})
		nodes := []definition.Node{{ID: "a"}, {ID: "b", Cluster: "edge"}}
		for range 2 {
			for _, n := range nodes {
				step(Connected{n})
				step(Settled{ID: n.ID, Choice: m.plan.Choose(n)})
				step(Refused{ID: n.ID, Choice: m.plan.Choose(n), Key: Key{FilterKind, "hello"}})
				step(Crashed{ID: n.ID, Filter: "hello"})
				step(Restarted{ID: n.ID})
			}
			m.Status(now)()
			for _, l := range m.Looks(func(Look) bool { return true }) {
				step(l.Answer(Good, ""))
			}
			for _, verb := range Verbs() {
				step(Command{Verb: verb})
			}
			now = now.Add(AwaitFor)
			step(Tick{})
		}
		for _, begin := range []func(Options, map[string][]byte) (*Machine, []error){New, Follow} {
			next, errs := begin(Options{}, disk)
			if len(errs) > 0 {
				t.Errorf("the next process can't use: %v", errs)
			}
			if next.Step(now, Wanted{set}).Plan == nil {
				t.Error("the next process has no plan")
			}
		}
	})
}
