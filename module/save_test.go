package module

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/definition"
)

func filterNamed(name string) good {
	return good{definition: &definition.Filter{Name: name}, module: Info{SHA256: "00", Size: 1, ABI: "0.2.1"}}
}

func read(t *testing.T, file string) savedState {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s savedState
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return s
}

// A thousand changes a second are two writes, and the last of them is saved.
func TestSaverGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newSaver(filepath.Join(t.TempDir(), "modules.json"), slog.New(slog.DiscardHandler))
		var newest, asked atomic.Int64
		go s.run(ctx, func(context.Context) (worth, bool) {
			asked.Add(1)
			return worth{filters: []line{filterNamed(fmt.Sprint(newest.Load()))}}, true
		})
		for range 1000 {
			newest.Add(1)
			s.tell()
			time.Sleep(time.Millisecond)
		}
		if n := asked.Load(); n > 2 {
			t.Errorf("written %d times in a second", n)
		}
		time.Sleep(saveAfter)
		synctest.Wait()
		if got := read(t, s.file).Filters[0].Definition.Name; got != "1000" {
			t.Errorf("saved as it was after %s changes", got)
		}
		before := asked.Load()
		time.Sleep(time.Hour)
		if n := asked.Load() - before; n != 0 {
			t.Errorf("written %d times while nothing changed", n)
		}
		cancel()
	})
}

// What can't be written is told, and is written as soon as it can be.
func TestSaverTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		dir := filepath.Join(t.TempDir(), "away")
		var log bytes.Buffer
		s := newSaver(filepath.Join(dir, "modules.json"), slog.New(slog.NewTextHandler(&log, nil)))
		go s.run(ctx, func(context.Context) (worth, bool) {
			return worth{filters: []line{filterNamed("hello")}}, true
		})
		s.tell()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "would not survive a restart"); n < 5 || n > 8 {
			t.Errorf("told %d times in a minute:\n%s", n, &log)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(saveAgain + time.Second)
		synctest.Wait()
		if got := read(t, s.file).Filters[0].Definition.Name; got != "hello" {
			t.Error(got)
		}
		cancel()
	})
}

// What didn't change isn't marshalled again; what is gone is dropped.
func TestSaverWritesWhatChanged(t *testing.T) {
	s := newSaver(filepath.Join(t.TempDir(), "modules.json"), slog.New(slog.DiscardHandler))
	var encoded int
	write := func(want int, names ...string) {
		t.Helper()
		encoded = 0
		var w worth
		for _, name := range names {
			w.origins = append(w.origins, counted{name, &encoded})
		}
		if err := s.write(w); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range read(t, s.file).Origins {
			got = append(got, o.URL)
		}
		if fmt.Sprint(got) != fmt.Sprint(names) || encoded != want || len(s.lines) != len(names) {
			t.Errorf("saved %v with %d lines known, %d of them encoded; want %v, %d", got, len(s.lines), encoded, names, want)
		}
	}
	write(0)
	write(2, "a", "b")
	write(1, "a", "b", "c")
	write(0, "c", "a")
	write(1, "c", "b")
}

type counted struct {
	url string
	n   *int
}

func (c counted) encode() ([]byte, error) {
	*c.n++
	return savedOrigin{URL: c.url}.encode()
}

// A process that is killed has saved what was good half a second before.
func TestSavedWhileRunning(t *testing.T) {
	origin := newOrigin(t, gives(filter("x")))
	options := Options{Store: newStore(t), State: filepath.Join(t.TempDir(), "modules.json")}
	r := resolve(t, options)
	r.set(wanted("hello", origin.URL))
	r.until(Good, filter("x"))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(options.State); err == nil {
			if !strings.Contains(string(b), sumOf(filter("x"))) {
				t.Errorf("saved: %s", b)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was saved")
		}
	}
}

// A process that is killed before it has saved what is good: the next finds it
// again, from the definitions, if only the origin or a pin says what it is.
func TestKilledBeforeSaving(t *testing.T) {
	v1, v2 := filter("1"), filter("2")
	for name, test := range map[string]struct {
		filter func(url string) *definition.Filter // as it is after the change
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
			options := Options{Store: newStore(t), State: filepath.Join(t.TempDir(), "modules.json")}
			first := resolve(t, options)
			first.set(wanted("hello", origin.URL))
			first.until(Good, v1)
			first.stop()
			saved, err := os.ReadFile(options.State)
			if err != nil {
				t.Fatal(err)
			}

			origin.set(gives(v2))
			second := resolve(t, options)
			second.set(test.filter(origin.URL))
			second.until(Good, v2)
			second.stop()
			if err := os.WriteFile(options.State, saved, 0o600); err != nil { // as if it had not come to it
				t.Fatal(err)
			}

			origin.set(test.origin)
			third := resolve(t, options)
			third.set(test.filter(origin.URL))
			third.until(test.state, test.want)
		})
	}
}
