package source

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// kept waits until a file's last good content is this; "": there is none.
func kept(t *testing.T, path, content string) {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		got, _ := os.ReadFile(path)
		if string(got) == content {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has %q, want %q", path, got, content)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestRestartWithBadFile(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), filepath.Join(t.TempDir(), "data", "definitions")
	directory := func() *Directory { return &Directory{Path: dir, LastGood: data} }
	write(t, dir+"/sub/a.yaml", filter("a", "one"))
	write(t, dir+"/b.yaml", filter("b", "one"))
	write(t, dir+"/c.yaml", filter("c", "one"))
	r := start(t, directory())
	r.until("a=one b=one c=one", 0)
	write(t, dir+"/sub/a.yaml", filter("a", "two"))
	r.until("a=two b=one c=one", 0)
	write(t, dir+"/sub/a.yaml", "bad: [")
	r.until("a=two b=one c=one", 1)
	r.stop()
	kept(t, data+"/sub/a.yaml", filter("a", "two"))

	// While it was away: one file deleted, one made bad by the other's name.
	must(t, os.Remove(dir+"/c.yaml"))
	write(t, dir+"/0.yaml", filter("b", "thief"))
	r = start(t, directory())
	u := r.next()
	if filterNames(u) != "a=two b=one" || len(u.Problems) != 2 {
		t.Errorf("filters %q, problems %v", filterNames(u), u.Problems)
	}
	kept(t, data+"/c.yaml", "")
	write(t, dir+"/sub/a.yaml", filter("a", "three"))
	r.until("a=three b=one", 1)
	kept(t, data+"/sub/a.yaml", filter("a", "three"))
	must(t, os.RemoveAll(dir+"/sub"))
	r.until("b=one", 1)
	kept(t, data+"/sub/a.yaml", "")
	r.stop()
	if _, err := os.Stat(data + "/sub"); err == nil {
		t.Error("an empty folder was left")
	}

	// The whole directory is away.
	must(t, os.Rename(dir, dir+".away"))
	r = start(t, directory())
	r.until("b=one", 1)
	must(t, os.Rename(dir+".away", dir))
	r.until("b=one", 1)
	must(t, os.Remove(dir+"/0.yaml"))
	u = r.until("b=one", 0)
	if got := byName(u, "b").Pos.File; got != filepath.Join(dir, "b.yaml") {
		t.Errorf("position %s", got)
	}
}

func TestDataFolderThatCantBeWritten(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()+"/data"
	write(t, data, "a file is in the way")
	write(t, dir+"/a.yaml", filter("a", "one"))
	r := start(t, &Directory{Path: dir, LastGood: data})
	r.until("a=one", 0)
	write(t, dir+"/a.yaml", filter("a", "two"))
	r.until("a=two", 0)
	must(t, os.Remove(data))
	kept(t, data+"/a.yaml", filter("a", "two")) // tried again by itself
}

func TestLeftoversAreCleared(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	write(t, data+"/.a.yaml12345", "cut off")
	write(t, data+"/old.yaml", "not good: [")
	write(t, dir+"/old.yaml", filter("a", ""))
	r := start(t, &Directory{Path: dir, LastGood: data})
	r.until("a", 0)
	kept(t, data+"/.a.yaml12345", "")
	kept(t, data+"/old.yaml", filter("a", ""))
}
