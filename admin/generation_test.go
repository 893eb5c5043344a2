package admin

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wasmxds/module"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// walked is a fleet that counts calls.
type walked struct {
	fleet
	generation, nodes, summaries atomic.Int64
}

func (w *walked) Generation() uint64 { return uint64(w.generation.Load()) }

func (w *walked) Nodes(after string, limit int) ([]xds.NodeStatus, string) {
	w.nodes.Add(1)
	return w.fleet.Nodes(after, limit)
}

func (w *walked) Summary() (xds.NodeCount, map[string]xds.FilterCount) {
	w.summaries.Add(1)
	return w.fleet.Summary()
}

// TestPagesAtRest checks that, however many pages are open or clients wait for
// a filter, the fleet is read only after changes, and once for all of them.
func TestPagesAtRest(t *testing.T) {
	w := &walked{fleet: someFleet()}
	s := New(Options{Fleet: w})
	s.Loaded(someLoaded())
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	const pages = 10
	var open sync.WaitGroup
	told := make(chan struct{}, 100)
	for range pages {
		req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		open.Go(func() {
			defer resp.Body.Close()
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				if lines.Text() == "event: change" {
					told <- struct{}{}
				}
			}
		})
	}
	defer open.Wait()
	defer cancel()
	all := func(what string) {
		t.Helper()
		for range pages {
			select {
			case <-told:
			case <-time.After(time.Minute):
				t.Fatalf("not every page was told %s", what)
			}
		}
	}
	looks := func(what string, want int64) {
		t.Helper()
		if n, m := w.nodes.Load(), w.summaries.Load(); n != want || m != want {
			t.Errorf("%s: walked %d times, counted %d times, want %d", what, n, m, want)
		}
	}
	all("at first")
	looks("at first", 1)
	client := &Client{URL: srv.URL, HTTP: http.DefaultClient}
	for range 20 {
		if _, err := client.Page(ctx, "", 1); err != nil {
			t.Fatal(err)
		}
		get(t, s.Handler(), "/")
	}
	w.nodes.Add(-20) // those of the status' own page
	looks("at rest", 1)

	w.fleet[0].Filters[0].State = swap.Failed
	w.generation.Add(1)
	all("of a change")
	looks("after a change", 2)
	l := someLoaded()
	l.Files++
	s.Loaded(l)
	all("of new definitions")
	if w.summaries.Load() != 2 {
		t.Error("definitions do not change what the fleet runs")
	}
}

// wanting is a store of modules that all have the same Wants.
type wanting struct{ Modules }

func (wanting) Wants(string) (module.Wants, error) {
	return module.Wants{Calls: []string{"proxy_log"}}, nil
}

// TestNothingNewIsNoChange checks that pages are reloaded when there is
// something new to show, not whenever the fleet was read.
func TestNothingNewIsNoChange(t *testing.T) {
	s := newScene(t, 2)
	s.Server.opts.Modules = wanting{}
	first := s.Server.overview()
	s.ahead += stale
	again := s.Server.overview()
	if again == first || again.digest != first.digest {
		t.Error("the same is another the second time")
	}
	s.load("another")
	s.ahead += stale
	if s.Server.overview().digest == first.digest {
		t.Error("other definitions are the same")
	}
}
