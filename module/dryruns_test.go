package module

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition"
)

// trials is a Runner whose verdict depends on the root id.
type trials struct {
	mu   sync.Mutex
	runs map[string]int // by key
	wait chan struct{}  // "slow" runs end when it is closed
}

func newTrials() *trials { return &trials{runs: map[string]int{}, wait: make(chan struct{})} }

func (s *trials) Key(f *definition.Filter, sha256 string) string { return f.RootID + "/" + sha256 }

func (s *trials) Run(ctx context.Context, f *definition.Filter, m Info) error {
	s.mu.Lock()
	s.runs[s.Key(f, m.SHA256)]++
	run := s.runs[s.Key(f, m.SHA256)]
	s.mu.Unlock()
	switch f.RootID {
	case "bad":
		return &ContentError{Message: "dry run: it trapped", Hint: "mend it"}
	case "flaky":
		if run < 3 {
			return errors.New("dry run: the machine is busy")
		}
	case "slow":
		select {
		case <-s.wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *trials) count(rootID string, content []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[rootID+"/"+sumOf(content)]
}

func rooted(name, url, root string) *definition.Filter {
	f := wanted(name, url)
	f.RootID = root
	return f
}

func TestTrials(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	runner := newTrials()
	r := resolve(t, Options{Runner: runner})

	good := rooted("hello", origin.URL, "good")
	r.set(good)
	r.until(Good, content)

	bad := rooted("hello", origin.URL, "bad")
	r.set(bad)
	got := r.until(Failed, content)
	if got.Definition != good || got.Reason != fmt.Sprintf("dry run: it trapped; it keeps running %.12s", sumOf(content)) {
		t.Errorf("%+v", got)
	}
	if p := r.last.Problems; len(p) != 1 || p[0].Hint != "mend it" || p[0].Message != "dry run: it trapped" {
		t.Errorf("%+v", p)
	}

	// A slow trial blocks no other; without a trial, no verdict is needed.
	slow, other := rooted("hello", origin.URL, "slow"), rooted("other", origin.URL, "flaky")
	unchecked := rooted("unchecked", origin.URL, "bad")
	unchecked.Verify = definition.VerifyABI
	r.set(slow, other, unchecked)
	r.next(func(s *Set) bool {
		return len(s.Filters) == 3 && s.Filters[0].State == Fetching && s.Filters[0].Definition == good &&
			s.Filters[1].State == Good && s.Filters[2].State == Good
	})
	close(runner.wait)
	r.next(func(s *Set) bool { return s.Filters[0].Definition == slow })
	for root, want := range map[string]int{"good": 1, "bad": 1, "slow": 1, "flaky": 3} {
		if n := runner.count(root, content); n != want {
			t.Errorf("%s was tried %d times, want %d", root, n, want)
		}
	}
}

// TestTrialOfEachChange checks that each change of a filter is tried, wherever
// its module comes from, except modules that Envoys fetch directly.
func TestTrialOfEachChange(t *testing.T) {
	content := filter("x")
	path := filepath.Join(t.TempDir(), "hello.wasm")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	changes := map[string]func(*definition.Filter){
		"Config":   func(f *definition.Filter) { f.Config = &anypb.Any{Value: []byte("bad")} },
		"VMConfig": func(f *definition.Filter) { f.VMConfig = &anypb.Any{Value: []byte("bad")} },
		"RootID":   func(f *definition.Filter) { f.RootID = "bad" },
		"VMID":     func(f *definition.Filter) { f.VMID = "bad" },
		"Env":      func(f *definition.Filter) { f.Env = map[string]string{"a": "bad"} },
		"HostEnv":  func(f *definition.Filter) { f.HostEnv = []string{"bad"} },
		"Allow":    func(f *definition.Filter) { f.Allow = []string{"bad"} },
	}
	for _, url := range []string{
		"file://" + path, "http://example.com/hello.wasm", "https://example.com/hello.wasm", "oci://example.com/hello:1", "direct",
	} {
		for name, change := range changes {
			t.Run(name+" "+url, func(t *testing.T) {
				origin := always(content)
				r := resolve(t, Options{
					Runner:   refusesBad{},
					Fetchers: map[string]Fetcher{"http": origin, "https": origin, "oci": origin},
					LookAt:   time.Hour,
				})
				good := wanted("hello", url)
				if url == "direct" {
					good.Module = definition.Module{URL: "https://example.com/hello.wasm", SHA256: sumOf(content), Fetch: definition.Direct}
				}
				r.set(good)
				r.until(Good, content)
				bad := *good
				change(&bad)
				r.set(&bad)
				if url == "direct" {
					if got := r.until(Good, content); got.Definition != &bad {
						t.Errorf("%+v", got)
					}
					return
				}
				if got := r.until(Failed, content); got.Definition != good {
					t.Errorf("%+v is served", got.Definition)
				}
				r.set(good)
				r.until(Good, content)
			})
		}
	}
}

// refusesBad is a Runner that rejects configurations with "bad".
type refusesBad struct{}

func (refusesBad) Key(f *definition.Filter, sha256 string) string {
	return sha256 + fmt.Sprint(f.Config.GetValue(), f.VMConfig.GetValue(), f.RootID, f.VMID, f.Env, f.HostEnv, f.Allow)
}

func (r refusesBad) Run(_ context.Context, f *definition.Filter, m Info) error {
	if key := r.Key(f, ""); strings.Contains(key, "bad") || strings.Contains(key, fmt.Sprint([]byte("bad"))) {
		return &ContentError{Message: "dry run: it is bad"}
	}
	return nil
}

// always is an origin with fixed content.
type always []byte

func (g always) Fetch(context.Context, Request) (*Response, error) {
	return &Response{Body: io.NopCloser(bytes.NewReader(g))}, nil
}

// TestTrialSuperseded checks that a trial ends when it is no longer needed.
func TestTrialSuperseded(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	r := resolve(t, Options{Runner: newTrials()})
	r.set(rooted("hello", origin.URL, "slow"))
	r.next(func(s *Set) bool { return s.Filters[0].Reason == origin.URL+" is being tried" })
	r.set(rooted("hello", origin.URL, "good"))
	r.until(Good, content)
}

// TestTrialRemembered checks that a passed trial isn't repeated after a
// restart.
func TestTrialRemembered(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	m := newMachine(t)
	for run, want := range []int{1, 0} {
		runner := newTrials()
		m.options.Runner = runner
		r := m.start()
		r.set(rooted("hello", origin.URL, "good"))
		r.until(Good, content)
		if n := runner.count("good", content); n != want {
			t.Errorf("start %d: tried %d times, want %d", run+1, n, want)
		}
	}
}

// TestSlowIsTold checks that a trial or a fetch without an outcome becomes a problem, which
// is gone with the outcome.
func TestSlowIsTold(t *testing.T) {
	content := filter("x")
	free := make(chan struct{})
	hangs := newOrigin(t, func(w http.ResponseWriter, q *http.Request) {
		select {
		case <-free:
		case <-q.Context().Done():
		}
		gives(content)(w, q)
	})
	runner := newTrials()
	r := resolve(t, Options{Runner: runner, SlowAfter: 20 * time.Millisecond})
	r.set(rooted("tried", newOrigin(t, gives(content)).URL, "slow"), rooted("fetched", hangs.URL, "good"))
	r.next(func(s *Set) bool {
		told := ""
		for _, p := range s.Problems {
			told += fmt.Sprintln(p.Message, p.Hint, p.Warning)
		}
		return strings.Contains(told, "is still being tried after 20ms look whether the machine is busy") &&
			strings.Contains(told, "is still being fetched after 20ms look whether its origin answers") && !strings.Contains(told, "false")
	})
	close(runner.wait)
	close(free)
	got := r.next(func(s *Set) bool { return s.Filters[0].State == Good && s.Filters[1].State == Good })
	if len(got.Problems) > 0 {
		t.Errorf("%+v", got.Problems)
	}
}
