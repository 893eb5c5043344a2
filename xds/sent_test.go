package xds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/state/statetest"
	"wasmxds/xds/swap"
)

func sentListener(name, content string, slots ...string) *resource.Listener {
	return &resource.Listener{Slots: slots, Resource: &resource.Resource{
		TypeURL: resource.ListenerType, Name: name, Version: resource.VersionOf([]byte(content)), Value: []byte(content),
	}}
}

// keep stores listeners as a server does, at a time.
func keep(t *testing.T, p *statetest.Process, at time.Time, listeners ...*resource.Listener) {
	t.Helper()
	a := archiveAt(p, at)
	for _, l := range listeners {
		a.sent(l)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// archiveAt returns the archive of a server that starts at that time.
func archiveAt(p *statetest.Process, at time.Time) *sentListeners {
	return newSentListeners(p.View("listeners/"), func() time.Time { return at })
}

func names(listeners []*resource.Listener) string {
	var out []string
	for _, l := range listeners {
		out = append(out, l.Name)
	}
	return strings.Join(out, " ")
}

func TestSentListenersSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	want := sentListener("web", "\x00\xff not text", "hello", "other")
	first := statetest.Start(t, dir)
	a := archiveAt(first, noon)
	if got := a.load(t.Context()); got != nil {
		t.Errorf("a new one has %v", names(got))
	}
	a.sent(want)
	first.End()
	got := archiveAt(statetest.Start(t, dir), noon).load(t.Context())
	if diff := cmp.Diff([]*resource.Listener{want}, got, cmpopts.IgnoreUnexported(resource.Listener{})); diff != "" {
		t.Errorf("(-kept +read):\n%s", diff)
	}
}

func TestSentListenersDropsWhatIsSpoilt(t *testing.T) {
	p := statetest.Start(t, t.TempDir())
	good, bad := sentListener("good", "content"), sentListener("bad", "other content")
	keep(t, p, noon, good, bad)
	content := p.Written(t, "listeners/")[bad.Version]
	for key, value := range map[string]string{
		bad.Version: strings.Replace(content, `"value":"b`, `"value":"c`, 1),
		"renamed":   p.Written(t, "listeners/")[good.Version],
		"half":      content[:len(content)/2],
		"empty":     "",
		"alien":     "hello",
		"nobody":    "{}",
	} {
		p.View("listeners/").PutBytes(key, []byte(value))
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(archiveAt(p, noon).load(t.Context())); got != "good" {
		t.Errorf("read %q, want the good one", got)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := p.Written(t, "listeners/"); len(left) != 1 {
		t.Errorf("left are %q", left)
	}
}

func TestSentListenersForgetsWhatIsOld(t *testing.T) {
	p := statetest.Start(t, t.TempDir())
	keep(t, p, noon, sentListener("web", "content"))
	if got := names(archiveAt(p, noon.Add(sentKeep-time.Hour)).load(t.Context())); got != "web" {
		t.Errorf("read %q", got)
	}
	if got := names(archiveAt(p, noon.Add(sentKeep+time.Hour)).load(t.Context())); got != "" {
		t.Errorf("read %q after %v", got, sentKeep)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := p.Written(t, "listeners/"); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}

// TestSentListenersIsBounded checks that the least recently used listeners are removed,
// here during the run of one server, and that what was recorded recently isn't written
// again.
func TestSentListenersIsBounded(t *testing.T) {
	p := statetest.Start(t, t.TempDir())
	now := noon
	a := newSentListeners(p.View("listeners/"), func() time.Time { return now })
	old := sentListener("old", "old")
	a.sent(old)
	for i := range sentMost {
		now = now.Add(time.Second)
		a.sent(sentListener("web", fmt.Sprint(i)))
	}
	now = now.Add(sentTouch)
	a.touch([]*resource.Listener{old})
	now = now.Add(sentTouch / 2)
	a.touch([]*resource.Listener{old})
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := archiveAt(p, now).load(t.Context())
	if len(got) != sentMost || got[0].Name != "old" || slices.ContainsFunc(got, func(l *resource.Listener) bool { return string(l.Value) == "0" }) {
		t.Errorf("%d listeners, the first is %s", len(got), got[0].Name)
	}
	if used := a.used[old.Version]; !used.Equal(now.Add(-sentTouch / 2)) {
		t.Errorf("noted in use at %v, and it is %v", used, now)
	}
}

// TestFlush checks that what was put before the server ends is written.
func TestFlush(t *testing.T) {
	dir := t.TempDir()
	first := statetest.Start(t, dir)
	s := New(Options{State: first.Writer})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var want []string
	for i := range 50 {
		l := sentListener(fmt.Sprintf("web-%02d", i), fmt.Sprint(i))
		s.sent.sent(l)
		want = append(want, l.Name)
	}
	s.proved.add([]*resource.Filter{provedFilter(t)})
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	first.End()
	next := New(Options{State: statetest.Start(t, dir).Writer, Resources: resource.Options{ModulesURL: "http://127.0.0.1:18001"}})
	got := strings.Fields(names(next.interner.Sent()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listeners (-sent +kept):\n%s", diff)
	}
	if n := len(next.proved.filters["hello"]); n != 1 {
		t.Errorf("kept of proved filters: %d", n)
	}
}

// provedFilter returns a filter that has run.
func provedFilter(t *testing.T) *resource.Filter {
	d := &definition.Filter{Name: "hello", OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
	set := &module.Set{Filters: []*module.Filter{{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: strings.Repeat("a", 64)}}}}
	c, problems := resource.Compile(nil, resource.Sets{Base: set}, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	if len(problems.Base) > 0 {
		t.Fatal(problems)
	}
	return c.Filter("hello")
}

// TestLeftIsBounded checks that the nodes that left last are remembered, however many have
// left.
func TestLeftIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	s := New(Options{Now: func() time.Time { return now }})
	something := leftOver(t)
	for i := range maxLeft + 10 {
		now = now.Add(time.Second)
		s.remember(fmt.Sprint(i), left{Left: something})
	}
	_, oldest := s.left["9"]
	_, next := s.left["10"]
	_, newest := s.left[fmt.Sprint(maxLeft+9)]
	if len(s.left) != maxLeft || oldest || !next || !newest {
		t.Errorf("%d are remembered; the 10th %t, the next %t, the last %t", len(s.left), oldest, next, newest)
	}
}

// leftOver returns what remains of a stream whose Envoy dropped a route and sent nothing
// more.
func leftOver(t *testing.T) swap.Left {
	r, err := resource.New(resource.RouteType, "r", &routev3.RouteConfiguration{Name: "r"})
	if err != nil {
		t.Fatal(err)
	}
	m := swap.New(swap.Options{Interner: swap.NewInterner(), Snapshot: &resource.Snapshot{Routes: []*resource.Resource{r}}})
	ready := m.Step(time.Unix(0, 0), swap.Request{Type: swap.Route, Names: []string{"r"}})
	nonce := swap.FormatNonce(ready.Sends[0].Nonce)
	m.Step(time.Unix(0, 0), swap.Request{Type: swap.Route, Names: []string{"r"}, Nonce: nonce})
	m.Step(time.Unix(0, 0), swap.Request{Type: swap.Route, Names: []string{"other"}, Nonce: nonce})
	if m.Left().Empty() {
		t.Fatal("nothing is left")
	}
	return m.Left()
}
