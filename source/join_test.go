package source

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/definition"
	"wasmxds/state/statetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a source that sends what the test says.
type scripted chan Batch

func (s scripted) Run(ctx context.Context, up chan<- Batch) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-s:
			select {
			case up <- b:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// of returns documents of a source from alternating names and contents; content
// "": gone.
func of(source string, pairs ...string) []Document {
	var docs []Document
	for i := 0; i < len(pairs); i += 2 {
		docs = append(docs, Document{Key: Key{source, pairs[i]}, Data: []byte(pairs[i+1]), Gone: pairs[i+1] == ""})
	}
	return docs
}

// unknown returns a batch of a source that can't be read.
func unknown(source string) Batch {
	return Batch{Source: source, Whole: true, Unknown: []Unknown{{Problem: definition.Problem{File: source, Message: "is away"}}}}
}

func told(u Update) string {
	var all []string
	for _, p := range u.Problems {
		all = append(all, p.Error())
	}
	return strings.Join(all, "\n")
}

// joined runs sources with the state in a folder until step returns. The
// function next waits for an update.
func joined(t *testing.T, data string, sources []Source, step func(j *Join, next func() Update)) {
	t.Helper()
	p := statetest.Start(t, data)
	ctx, cancel := context.WithCancel(t.Context())
	updates, done := make(chan Update, 10), make(chan error, 1)
	j := &Join{Sources: sources, State: p.Writer, Log: slog.New(slog.DiscardHandler)}
	go func() { done <- j.Run(ctx, func(u Update) { updates <- u }) }()
	step(j, func() Update {
		t.Helper()
		select {
		case u := <-updates:
			return u
		case <-time.After(time.Minute):
			t.Fatal("no update")
			panic("unreachable")
		}
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.End()
}

// TestSourcesAreJoined checks that there is no set before each source is known,
// and that the stored content of an unavailable source is used, even after a
// restart.
func TestSourcesAreJoined(t *testing.T) {
	data := t.TempDir()
	a, b := make(scripted), make(scripted)
	sources := []Source{{Name: "etcd", Discoverer: a}, {Name: "kube", Discoverer: b}}
	joined(t, data, sources, func(_ *Join, next func() Update) {
		a <- Batch{Source: "etcd", Whole: true, Docs: of("etcd", "../hello", filter("a", ""))}
		if u := next(); u.Set != nil || u.Files != 1 {
			t.Errorf("a set %v of one source alone", u.Set)
		}
		b <- unknown("kube")
		if u := next(); u.Set != nil || told(u) != "kube: is away" {
			t.Errorf("a set %v without the other; problems %v", u.Set, u.Problems)
		}
		b <- Batch{Source: "kube", Whole: true, Docs: of("kube", "shop/WasmFilter/b", filter("b", ""))}
		u := next()
		if filterNames(u) != "a b" || len(u.Problems) != 0 || u.Changed.IsZero() || u.Began.IsZero() {
			t.Errorf("%q, problems %v", filterNames(u), u.Problems)
		}
		if pos := u.Set.Filters[0].Pos; pos.File != "etcd ../hello" {
			t.Errorf("position %v", pos)
		}
		b <- Batch{Source: "kube"} // nothing
		a <- Batch{Source: "etcd", Docs: of("etcd", "../hello", "kind: [")}
		if u := next(); filterNames(u) != "a b" || !strings.HasPrefix(told(u), "etcd ../hello:1: ") {
			t.Errorf("%q, problems %v", filterNames(u), u.Problems)
		}
	})
	joined(t, data, sources, func(_ *Join, next func() Update) {
		b <- unknown("kube")
		if u := next(); u.Set != nil {
			t.Errorf("a set %v of what was kept of one source", u.Set)
		}
		a <- unknown("etcd")
		if u := next(); filterNames(u) != "a b" {
			t.Errorf("%q", filterNames(u))
		}
		a <- Batch{Source: "etcd", Whole: true}
		if u := next(); filterNames(u) != "b" {
			t.Errorf("%q", filterNames(u))
		}
	})
	kept := statetest.Start(t, data).Written(t, "definitions/")
	if len(kept) != 2 || kept[".kube/shop/WasmFilter/b"] == "" || kept[".known/etcd"] == "" {
		t.Errorf("kept %v", kept)
	}
}

// TestKnownToBeEmpty checks that a source that was empty, and is unavailable
// after a restart, blocks nothing.
func TestKnownToBeEmpty(t *testing.T) {
	data := t.TempDir()
	a, b := make(scripted), make(scripted)
	sources := []Source{{Name: "etcd", Discoverer: a}, {Name: "kube", Discoverer: b}}
	joined(t, data, sources, func(_ *Join, next func() Update) {
		a <- Batch{Source: "etcd", Whole: true}
		next()
		b <- Batch{Source: "kube", Whole: true, Docs: of("kube", "shop/WasmFilter/b", filter("b", ""))}
		if u := next(); filterNames(u) != "b" {
			t.Errorf("%q", filterNames(u))
		}
	})
	joined(t, data, sources, func(_ *Join, next func() Update) {
		b <- Batch{Source: "kube", Whole: true, Docs: of("kube", "shop/WasmFilter/b", filter("b", ""))}
		next()
		a <- unknown("etcd")
		if u := next(); filterNames(u) != "b" || told(u) != "etcd: is away" {
			t.Errorf("%q, problems %v", filterNames(u), u.Problems)
		}
	})
}

// TestWholeBatches checks that what is not in a whole batch is gone, except for
// what is unknown.
func TestWholeBatches(t *testing.T) {
	out := definition.Problem{Message: "2 are left out"}
	folder := func(slight bool) []Unknown {
		return []Unknown{{Below: "sub", Problem: definition.Problem{File: "sub", Message: "is away"}, Slight: slight}}
	}
	all := of(Dir, "a", filter("a", ""), "b", filter("b", ""), "sub/c", filter("c", ""))
	for _, c := range []struct {
		name     string
		batch    Batch
		filters  string
		problems string
	}{
		{"not whole", Batch{Docs: all[:1]}, "a b c", ""},
		{"whole", Batch{Whole: true, Docs: []Document{{Key: all[0].Key}, {Key: all[2].Key}}}, "a c", ""},
		{"a folder is unknown", Batch{Whole: true, Docs: all[:1], Unknown: folder(false)}, "a c", "sub: is away"},
		{"of which something is known", Batch{Whole: true, Docs: all[:1], Unknown: folder(true)}, "a c", "sub: is away"},
		{"of which nothing is known", Batch{Whole: true, Docs: all, Unknown: []Unknown{{Below: "b", Slight: true}}}, "a b c", ""},
		{"some are left out", Batch{Whole: true, Docs: all[:1], LeftOut: &out}, "a b c", ": 2 are left out"},
		{"and one is gone", Batch{Whole: true, Docs: of(Dir, "b", ""), LeftOut: &out}, "a c", ": 2 are left out"},
		{"one can't be read", Batch{Docs: []Document{{Key: all[0].Key, Trouble: &definition.Problem{File: "a", Message: "no"}}}}, "a b c", "a: no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStill(t)
			s.table.take(Batch{Source: Dir, Docs: all})
			s.table.join()
			c.batch.Source = Dir
			s.table.take(c.batch)
			s.table.join()
			u := Update{Set: s.table.set, Problems: s.table.problems}
			if filterNames(u) != c.filters || told(u) != c.problems {
				t.Errorf("filters %q, want %q; problems %q, want %q", filterNames(u), c.filters, told(u), c.problems)
			}
		})
	}
}

// TestNoBase checks that modules can't be relative to documents that are not
// files.
func TestNoBase(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	table := newTable([]Source{{Name: "etcd"}}, newLastGood(nil, log), log)
	text := "kind: WasmFilter\nname: %s\nmodule: {url: %s}\n"
	table.take(Batch{Source: "etcd", Whole: true, Docs: of("etcd", "hello", fmt.Sprintf(text, "a", "a.wasm"), "b", fmt.Sprintf(text, "b", "/opt/b.wasm"))})
	table.join()
	u := Update{Set: table.set, Problems: table.problems}
	want := "etcd hello:3: module.url: is a path, but there is no folder that it could be in"
	if filterNames(u) != "b" || told(u) != want {
		t.Errorf("filters %q, problems %q, want %q", filterNames(u), told(u), want)
	}
}
