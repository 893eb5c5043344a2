package module

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/state/statetest"
)

// TestSavesWhatChanged checks that only changes are written, and removed
// entries are deleted.
func TestSavesWhatChanged(t *testing.T) {
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) { w.Write(filter(r.URL.Path)) })
	process := statetest.Start(t, t.TempDir())
	r := resolve(t, Options{State: process.Writer})
	good := func(s *Set) bool {
		return !slices.ContainsFunc(s.Filters, func(f *Filter) bool { return f.State != Good })
	}
	revisions := func() map[string]uint64 {
		t.Helper()
		if err := process.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		entries, _, err := process.Store.List(t.Context(), "modules/")
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]uint64{}
		for _, e := range entries {
			all[e.Key] = uint64(e.Revision)
		}
		return all
	}
	a, b, c := wanted("a", origin.URL+"/a"), wanted("b", origin.URL+"/b"), wanted("c", origin.URL+"/c")
	r.set(a, b, c)
	r.next(good)
	before := revisions()
	if len(before) != 6 {
		t.Fatalf("kept of three filters: %v", before)
	}
	changed := *b
	changed.RootID = "new"
	r.set(a, &changed)
	r.next(good)
	after := revisions()
	if len(after) != 4 || after["modules/filter/b"] == before["modules/filter/b"] {
		t.Errorf("one changed, one gone: %v, before %v", after, before)
	}
	for key, revision := range after {
		if key != "modules/filter/b" && revision != before[key] {
			t.Errorf("%s is written again", key)
		}
	}
}

// TestSavedWhileRunning checks that a process that is killed has stored what
// was good half a second before.
func TestSavedWhileRunning(t *testing.T) {
	origin := newOrigin(t, gives(filter("x")))
	process := statetest.Start(t, t.TempDir())
	r := resolve(t, Options{State: process.Writer})
	r.set(wanted("hello", origin.URL))
	r.until(Good, filter("x"))
	var kept string
	eventually(t, func() error {
		if kept = process.Written(t, "modules/filter/")["hello"]; kept == "" {
			return errors.New("nothing was saved")
		}
		return nil
	})
	if !strings.Contains(kept, sumOf(filter("x"))) {
		t.Errorf("saved: %s", kept)
	}
}

// TestKilledBeforeSaving checks that, if a process is killed before it has
// stored what is good, the next one finds it again from the definitions, if the
// origin or a pin identifies it.
func TestKilledBeforeSaving(t *testing.T) {
	v1, v2 := filter("1"), filter("2")
	for name, test := range map[string]struct {
		filter func(url string) *definition.Filter // after the change
		origin http.HandlerFunc                    // after the kill
		state  State
		want   []byte
	}{
		"origin there":        {func(url string) *definition.Filter { return wanted("hello", url) }, gives(v2), Good, v2},
		"origin away, pinned": {func(url string) *definition.Filter { return pinned("hello", url, v2) }, refuses(503), Good, v2},
		"origin away":         {func(url string) *definition.Filter { return wanted("hello", url+"?2") }, refuses(503), Failed, v1},
	} {
		t.Run(name, func(t *testing.T) {
			origin := newOrigin(t, gives(v1))
			m := newMachine(t)
			file := filepath.Join(m.dir, "state.db")
			first := m.start()
			first.set(wanted("hello", origin.URL))
			first.until(Good, v1)
			m.end()
			saved, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}

			origin.set(gives(v2))
			second := m.start()
			second.set(test.filter(origin.URL))
			second.until(Good, v2)
			m.end()
			if err := os.WriteFile(file, saved, 0o600); err != nil { // as if it had not been written
				t.Fatal(err)
			}

			origin.set(test.origin)
			third := m.start()
			third.set(test.filter(origin.URL))
			third.until(test.state, test.want)
		})
	}
}
