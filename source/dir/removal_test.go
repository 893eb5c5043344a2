package dir

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"wasmxds/source"
	"wasmxds/state/statetest"
)

// five writes a listener and four filters.
func five(t *testing.T, dir string) {
	t.Helper()
	write(t, dir+"/web.yaml", listener("web"))
	for _, name := range []string{"a", "b", "c", "d"} {
		write(t, dir+"/"+name+".yaml", filter(name, "one"))
	}
}

func held(t *testing.T, u source.Update, gone, of int) {
	t.Helper()
	if want := (source.Removal{Definitions: gone, Of: of}); u.Held != want {
		t.Errorf("held %+v, want %+v", u.Held, want)
	}
	told := strings.Contains(fmt.Sprint(u.Problems), fmt.Sprintf("%d of %d definitions would be removed at once", gone, of))
	if told != (gone > 0) {
		t.Errorf("held %v, problems %v", u.Held, u.Problems)
	}
}

func TestEmptiedDirectoryIsHeld(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	p := statetest.Start(t, data)
	five(t, dir)
	r := start(t, &Directory{Path: dir}, in(p.Writer))
	r.until("a=one b=one c=one d=one", 0)
	must(t, os.Rename(dir, dir+".away")) // a volume is unmounted, which shows the empty mount point
	must(t, os.Mkdir(dir, 0o777))
	u := r.until("a=one b=one c=one d=one", 1)
	held(t, u, 5, 5)
	if u.Files != 0 || len(u.Set.Listeners) != 1 {
		t.Errorf("%d files, listeners %v", u.Files, u.Set.Listeners)
	}
	must(t, r.Rescan(t.Context()))
	r.quiet()
	r.stop()
	p = next(t, p, data)

	// A server that starts meanwhile removes nothing, either.
	r = start(t, &Directory{Path: dir}, in(p.Writer))
	held(t, r.until("a=one b=one c=one d=one", 1), 5, 5)

	// New definitions are still added.
	write(t, dir+"/e.yaml", filter("e", "one"))
	held(t, r.until("a=one b=one c=one d=one e=one", 1), 5, 5)

	// The volume is back, with one file less, which is an everyday change.
	must(t, os.RemoveAll(dir))
	must(t, os.Remove(dir+".away/a.yaml"))
	must(t, os.Rename(dir+".away", dir))
	held(t, r.until("b=one c=one d=one", 0), 0, 0)
	kept(t, p, "a.yaml", "")
}

func TestRemovalsAll(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	p := statetest.Start(t, data)
	five(t, dir)
	r := start(t, &Directory{Path: dir}, in(p.Writer))
	r.until("a=one b=one c=one d=one", 0)
	r.stop()
	p = next(t, p, data)
	for _, name := range []string{"web", "a", "b", "c", "d"} {
		must(t, os.Remove(dir+"/"+name+".yaml"))
	}
	r = start(t, &Directory{Path: dir}, in(p.Writer), removeAll)
	held(t, r.until("", 0), 0, 0)
	kept(t, p, "a.yaml", "")
}
