package xds

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
)

func sentListener(name, content string, slots ...string) *resource.Listener {
	return &resource.Listener{Slots: slots, Resource: &resource.Resource{
		TypeURL: resource.ListenerType, Name: name, Version: resource.VersionOf([]byte(content)), Value: []byte(content),
	}}
}

// keep writes listeners as a server does.
func keep(t *testing.T, dir string, listeners ...*resource.Listener) *archive {
	t.Helper()
	a := newArchive(dir, slog.New(slog.DiscardHandler))
	a.load(time.Now())
	for _, l := range listeners {
		if err := a.write(l); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func names(listeners []*resource.Listener) string {
	var out []string
	for _, l := range listeners {
		out = append(out, l.Name)
	}
	return strings.Join(out, " ")
}

func TestArchiveSurvivesRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "listeners")
	want := sentListener("web", "\x00\xff not text", "hello", "other")
	a := newArchive(dir, slog.New(slog.DiscardHandler))
	if got := a.load(time.Now()); got != nil {
		t.Errorf("a new folder has %v", names(got))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { a.run(ctx, func() []*resource.Listener { return nil }); close(ended) }()
	a.sent(want)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, want.Version+".json")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is written")
		}
	}
	cancel()
	<-ended
	got := newArchive(dir, slog.New(slog.DiscardHandler)).load(time.Now())
	if diff := cmp.Diff([]*resource.Listener{want}, got); diff != "" {
		t.Errorf("(-kept +read):\n%s", diff)
	}
}

func TestArchiveDropsWhatIsSpoilt(t *testing.T) {
	dir := t.TempDir()
	good, bad := sentListener("good", "content"), sentListener("bad", "other content")
	a := keep(t, dir, good, bad)
	path := filepath.Join(dir, bad.Version+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		path:                              strings.Replace(string(b), `"value":"b`, `"value":"c`, 1),
		filepath.Join(dir, "half.json"):   string(b[:len(b)/2]),
		filepath.Join(dir, "empty.json"):  "",
		filepath.Join(dir, "alien.txt"):   "hello",
		filepath.Join(dir, "nobody.json"): "{}",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := names(a.load(time.Now())); got != "good" {
		t.Errorf("read %q, want the good one", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 { // the good one and the folder
		t.Errorf("left are %q, %v", left, err)
	}
}

func TestArchiveForgetsWhatIsOld(t *testing.T) {
	dir := t.TempDir()
	a := keep(t, dir, sentListener("web", "content"))
	if got := names(a.load(time.Now().Add(archiveKeep - time.Hour))); got != "web" {
		t.Errorf("read %q", got)
	}
	if got := names(a.load(time.Now().Add(archiveKeep + time.Hour))); got != "" {
		t.Errorf("read %q after %v", got, archiveKeep)
	}
}

// TestArchiveWithoutFolder: what can't be kept is said, and that is all.
func TestArchiveWithoutFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	a := newArchive(filepath.Join(file, "listeners"), slog.New(slog.NewTextHandler(&log, nil)))
	if got := a.load(time.Now()); got != nil {
		t.Errorf("read %v", names(got))
	}
	if !strings.Contains(log.String(), "cannot keep the listeners") {
		t.Errorf("logged %q", log.String())
	}
	for range 2 * cap(a.in) { // does not block
		a.sent(sentListener("web", "content"))
	}
}

// TestFlush: what is queued when the server ends is written, as far as there is
// time.
func TestFlush(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Dir: dir})
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
	got := strings.Fields(names(newArchive(filepath.Join(dir, "listeners"), slog.New(slog.DiscardHandler)).load(time.Now())))
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listeners (-queued +kept):\n%s", diff)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "proved", "*.json")); len(files) != 1 {
		t.Errorf("kept of proved filters: %q", files)
	}

	a := newArchive(t.TempDir(), slog.New(slog.DiscardHandler))
	a.sent(sentListener("web", "content"))
	a.flush(time.Now().Add(-time.Second))
	if len(a.in) != 1 {
		t.Error("it is written after the time for it")
	}
}

// provedFilter is one that has run.
func provedFilter(t *testing.T) *resource.Filter {
	d := &definition.Filter{Name: "hello", OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
	set := &module.Set{Filters: []*module.Filter{{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: strings.Repeat("a", 64)}}}}
	c, problems := resource.Compile(nil, set, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c.Filter("hello")
}

// TestLostIsBounded: who went away last is remembered, however many did.
func TestLostIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	s := New(Options{Now: func() time.Time { return now }})
	for i := range maxLost + 10 {
		now = now.Add(time.Second)
		s.lose(fmt.Sprint(i), []string{"hello"})
	}
	_, oldest := s.lost["9"]
	_, next := s.lost["10"]
	_, newest := s.lost[fmt.Sprint(maxLost+9)]
	if len(s.lost) != maxLost || oldest || !next || !newest {
		t.Errorf("%d are remembered; the 10th %t, the next %t, the last %t", len(s.lost), oldest, next, newest)
	}
}
