package dir

import (
	"os"
	"testing"

	"wasmxds/source"
	"wasmxds/source/internal/sourcetest"
	"wasmxds/state/statetest"
)

func withheld(u source.Update) string { return sourcetest.Withheld(u.Set) }

func prefixes(u source.Update) string { return sourcetest.Prefixes(u.Set) }

func TestHolesAcrossRestart(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	p := statetest.Start(t, data)
	directory := func() *Directory { return &Directory{Path: dir} }
	write(t, dir+"/web.yaml", listener("web"))
	r := start(t, directory(), in(p.Writer))
	r.until("", 0)
	write(t, dir+"/bad.yaml", "kind: [")
	r.until("", 1)
	write(t, dir+"/api.yaml", listener("api"))
	r.until("", 2)
	write(t, dir+"/web.yaml", routed("web", "new"))
	r.until("", 3)
	r.stop()
	p = next(t, p, data)

	r = start(t, directory(), in(p.Writer))
	u := r.until("", 3)
	if withheld(u) != "api" || prefixes(u) != "api/ web/" {
		t.Errorf("withheld %q, served %q", withheld(u), prefixes(u))
	}
	must(t, os.Remove(dir+"/bad.yaml"))
	u = r.until("", 0)
	if withheld(u) != "" || prefixes(u) != "api/ web/new" {
		t.Errorf("withheld %q, served %q", withheld(u), prefixes(u))
	}
	kept(t, p, inForce, "")
}
