package try

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/module/dryrun/stream"
)

func TestMain(m *testing.M) {
	if os.Args[0] == "trial" {
		os.Exit(dryrun.Sandbox(os.Stdin, os.Stdout))
	}
	goleak.VerifyTestMain(m)
}

// host is a Runner and what it has modules of.
type host struct {
	*dryrun.Runner
	store *module.Store
}

func newHost(t *testing.T, options dryrun.Options) *host {
	t.Helper()
	store, err := module.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	options.Store, options.Command = store, []string{program, "trial"}
	r := dryrun.New(t.Context(), options)
	t.Cleanup(r.Close)
	return &host{r, store}
}

func (h *host) module(t *testing.T, f wasmtest.Filter) module.Info {
	t.Helper()
	info, err := h.store.Put(bytes.NewReader(f.Module()), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// parse reads FilterTests of a filter "a".
func parse(t *testing.T, cases string) []*definition.FilterTest {
	t.Helper()
	file, problems := definition.Parser{}.Parse("t.yaml", []byte("kind: FilterTest\nfilter: a\ncases:\n"+cases))
	if file == nil {
		t.Fatal(problems)
	}
	return file.Tests
}

func told(err error) string {
	e, ok := errors.AsType[*module.TestError](err)
	if !ok {
		return fmt.Sprint(err)
	}
	var all []string
	for _, p := range e.Problems {
		all = append(all, strings.TrimPrefix(p.Error(), "t.yaml:"))
	}
	return strings.Join(all, "\n")
}

// TestTests runs tests on small modules.
func TestTests(t *testing.T) {
	h := newHost(t, dryrun.Options{})
	tests := NewTests(h)
	adds := wasmtest.Filter{Header: "x-a", Value: "1", Response: true, Counts: "seen"}
	denies := wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.DenyEvery, At: 2}
	for _, c := range []struct {
		name   string
		filter wasmtest.Filter
		cases  string
		want   string
	}{
		{"passes", adds, `
- name: one
  request: {path: /x, body: b}
  response: {status: 201, headers: {x-b: b}, body: c}
  expect:
    request: {method: POST, path: /x, headers: {x-a: "1", x-b: null}, body: b}
    response: {status: 201, headers: {x-a: "1", X-B: {contains: b}}, body: c}
    continues: true
    calls: []
- {name: two, expect: {}}
`, "<nil>"},
		{"fails", adds, `
- name: one
  expect:
    request: {path: /y, headers: {x-a: [a, b], x-c: c, x-d: {contains: d}}, body: b}
    response: {status: 204}
    localReply: {status: 401}
`, `7: cases[0].expect.request.headers.x-a: one: got "1", expected "a" and "b"
7: cases[0].expect.request.headers.x-c: one: got no such header, expected "c"
7: cases[0].expect.request.headers.x-d: one: got no such header, expected a value with "d" in it
7: cases[0].expect.request.path: one: got "/", expected "/y"
7: cases[0].expect.request.body: one: got "", expected "b"
8: cases[0].expect.response.status: one: got 200, expected 204
9: cases[0].expect.localReply: one: there was no local reply: the request went on to the upstream`},
		{"replies", denies, `
- {name: first, expect: {continues: true}}
- {name: second, before: [{}], expect: {localReply: {status: 403}, continues: false}}
- {name: not first, expect: {localReply: {}}}
- {name: not second, before: [{}], expect: {request: {headers: {x-a: "1"}}, continues: true}}
`, `7: cases[2].expect.localReply: not first: there was no local reply: the request went on to the upstream
8: cases[3].expect.continues: not second: the filter answered 403 itself, expected it to continue to the upstream
8: cases[3].expect.request: not second: no request reached the upstream: the filter answered 403 itself`},
		{"traps", wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.TrapAt, At: 2}, `
- {name: first}
- {name: second, before: [{}]}
- {name: third, before: [{}, {}]}
`, `6: cases[1]: second: the filter has crashed: proxy_on_request_headers
7: cases[2].before[1]: third: before[1]: the filter has crashed: proxy_on_request_headers`},
		{"counts", adds, `
- {name: right, before: [{}, {}], expect: {metrics: {seen: 3}}}
- {name: wrong, expect: {metrics: {seen: 3, other: 1}}}
`, `6: cases[1].expect.metrics.other: wrong: it has no metric "other"; it has seen
6: cases[1].expect.metrics.seen: wrong: got 1, expected 3`},
		{"is not let start", wasmtest.Filter{Fault: wasmtest.RejectConfigure}, `
- {name: one}
`, `5: cases[0]: one: dry run: proxy_on_configure`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := tests.Test(t.Context(), &definition.Filter{Name: "a"}, h.module(t, c.filter), parse(t, c.cases))
			got := strings.Split(told(err), "\n")
			want := strings.Split(c.want, "\n")
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
					t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), c.want)
				}
			}
		})
	}
}

// TestSecretFailures checks that failures of a filter with a secret configuration say where
// they are, and nothing of what came.
func TestSecretFailures(t *testing.T) {
	h := newHost(t, dryrun.Options{})
	f := &definition.Filter{Name: "a", Config: definition.TextConfig("canary"), ConfigSecret: &definition.SecretKey{Name: "keys", Key: "json"}}
	adds := h.module(t, wasmtest.Filter{Header: "x-a", FromConfig: true})
	cases := parse(t, "- {name: one, expect: {request: {headers: {x-a: other}}}}\n")
	open := *f
	open.ConfigSecret = nil
	if got := told(NewTests(h).Test(t.Context(), &open, adds, cases)); !strings.Contains(got, `got "canary"`) {
		t.Errorf("the module does not add its configuration: %s", got)
	}
	got := told(NewTests(h).Test(t.Context(), f, adds, cases))
	if strings.Contains(got, "canary") || !strings.HasPrefix(got, "4: cases[0].expect.request.headers.x-a: one: it is not as expected") {
		t.Errorf("%s", got)
	}
}

// TestEndless: tests whose module never returns fail, with the reason, and others run
// meanwhile.
func TestEndless(t *testing.T) {
	h := newHost(t, dryrun.Options{Time: time.Second, AtOnce: 2})
	tests := NewTests(h)
	spins := h.module(t, wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.SpinAt, At: 1})
	adds := h.module(t, wasmtest.Filter{Header: "x-a", Value: "1"})
	ended := make(chan error, 1)
	go func() {
		ended <- tests.Test(t.Context(), &definition.Filter{Name: "spins"}, spins, parse(t, "- {name: endless}\n"))
	}()
	if err := tests.Test(t.Context(), &definition.Filter{Name: "a"}, adds, parse(t, "- {name: one}\n")); err != nil {
		t.Error(err)
	}
	err := <-ended
	if _, verdict := errors.AsType[*module.TestError](err); !verdict || !strings.Contains(err.Error(), "endless") {
		t.Errorf("%v", err)
	}
}

// slow is a Player of which each play takes a while, and passes nothing.
type slow struct {
	plays int
	each  time.Duration
	give  error
}

func (s *slow) Play(ctx context.Context, p dryrun.Play) (dryrun.Played, error) {
	s.plays++
	select {
	case <-time.After(s.each):
	case <-ctx.Done():
		return dryrun.Played{}, ctx.Err()
	}
	return dryrun.Played{Streams: []stream.Result{{Crash: "at once"}}}, s.give
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "- {name: c%d}\n", i)
	}
	return b.String()
}

// TestBounds: tests end after so many failures, and after so long.
func TestBounds(t *testing.T) {
	all := parse(t, many(1000))
	player := &slow{}
	err := NewTests(player).Test(t.Context(), &definition.Filter{}, module.Info{}, all)
	if e, ok := errors.AsType[*module.TestError](err); !ok || len(e.Problems) != mostFailures || player.plays != mostFailures {
		t.Errorf("%d plays, %v", player.plays, err)
	}

	player = &slow{each: 2 * time.Millisecond, give: &dryrun.Unplayable{Reason: "it is odd"}}
	err = NewTests(player).Test(t.Context(), &definition.Filter{}, module.Info{}, all)
	if e, ok := errors.AsType[*module.UntestedError](err); !ok || player.plays != 1 || !strings.Contains(e.Problem.Error(), "t.yaml:1: filter: these tests are not run: only an Envoy can run it: it is odd") {
		t.Errorf("%v", err)
	}

	patient := NewTests(passing{2 * time.Millisecond})
	patient.budget = 20 * time.Millisecond
	err = patient.Test(t.Context(), &definition.Filter{}, module.Info{}, all)
	if _, verdict := errors.AsType[*module.TestError](err); verdict || err == nil || !strings.Contains(err.Error(), "of 1000 cases have run") {
		t.Errorf("%v", err)
	}
}

// TestBudget: what a filter's tests wait for those of others is not of their time.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tests, all := NewTests(passing{budget / 60}), parse(t, many(50))
		var group errgroup.Group
		for range 10 {
			group.Go(func() error { return tests.Test(t.Context(), &definition.Filter{}, module.Info{}, all) })
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestSlowHoldUpNoOthers checks that tests of other filters run while cases of a filter don't
// end, and that two cases at most are played at once.
func TestSlowHoldUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		player := &stuck{end: make(chan struct{})}
		tests := NewTests(player)
		run := func(filter string, cases int) error {
			return tests.Test(t.Context(), &definition.Filter{Name: filter}, module.Info{}, parse(t, many(cases)))
		}
		var group errgroup.Group
		group.Go(func() error { return run("stuck", 3) })
		for i := range 3 { // while the first, second and third case of it are played
			synctest.Wait()
			for range 5 {
				if err := run("quick", 20); err != nil {
					t.Error(err)
				}
			}
			if begun := player.begun.Load(); begun != int32(i+1) {
				t.Errorf("%d cases began, want %d", begun, i+1)
			}
			player.end <- struct{}{}
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		for range 4 {
			group.Go(func() error { return run("stuck", 1) })
		}
		for range 4 {
			time.Sleep(10 * long)
			player.end <- struct{}{}
		}
		if err := group.Wait(); err != nil || player.most.Load() != 2 {
			t.Errorf("%d cases at once, want 2; %v", player.most.Load(), err)
		}
	})
}

// stuck is a Player whose plays of the filter "stuck" end when they are told to.
type stuck struct {
	end                chan struct{}
	begun, plays, most atomic.Int32
}

func (s *stuck) Play(_ context.Context, p dryrun.Play) (dryrun.Played, error) {
	s.most.Store(max(s.most.Load(), s.plays.Add(1)))
	defer s.plays.Add(-1)
	if p.Filter.Name == "stuck" {
		s.begun.Add(1)
		<-s.end
	}
	return dryrun.Played{Streams: []stream.Result{{}}}, nil
}

// passing is a Player to which nothing happens.
type passing struct{ each time.Duration }

func (p passing) Play(context.Context, dryrun.Play) (dryrun.Played, error) {
	time.Sleep(p.each)
	return dryrun.Played{Streams: []stream.Result{{}}}, nil
}

// TestKey: tests that differ in anything have another key.
func TestKey(t *testing.T) {
	tests := NewTests(passing{})
	keys := map[string]string{}
	for _, cases := range []string{
		"- {name: a}\n", "- {name: b}\n", "# moved\n- {name: a}\n", "- {name: a, request: {path: /x}}\n", "- {name: a, expect: {continues: true}}\n", "- {name: a, expect: {calls: []}}\n",
	} {
		key := tests.Key(parse(t, cases))
		if other, ok := keys[key]; ok {
			t.Errorf("%q has the key of %q", cases, other)
		}
		keys[key] = cases
		if tests.Key(parse(t, cases)) != key {
			t.Errorf("%q has two keys", cases)
		}
	}
}

// TestHuge: what is expected, and what comes, may be of any size; what is told of it is
// not.
func TestHuge(t *testing.T) {
	huge := strings.Repeat("a", 1<<20) + strings.Repeat("\nline", 100_000)
	h := newHost(t, dryrun.Options{})
	tests := parse(t, "- name: huge\n  response: {body: "+quote(strings.Repeat("a", 60))+"}\n  expect: {response: {body: b}}\n")
	tests[0].Cases[0].Response.Body = [][]byte{[]byte(huge)}
	tests[0].Cases[0].Expect.Response.Body.Text = huge[:1<<20] + "x" + huge[1<<20:]
	err := NewTests(h).Test(t.Context(), &definition.Filter{Name: "a"}, h.module(t, wasmtest.Filter{Header: "x-a", Value: "1"}), tests)
	e, ok := errors.AsType[*module.TestError](err)
	if !ok || len(e.Problems) != 1 {
		t.Fatalf("%.1000v", err)
	}
	if p := e.Problems[0]; len(p.Message) > 1000 || len(p.Diff) > 20_000 || !strings.Contains(p.Message, "which differ from byte 1048576 on") {
		t.Errorf("%d and %d bytes: %.1000s", len(p.Message), len(p.Diff), p.Message)
	}
}
