package dir

import (
	"os"
	"strings"
	"testing"

	"wasmxds/source"
	"wasmxds/state/statetest"
)

// withheld gives the names of the listeners that are withheld.
func withheld(u source.Update) string {
	var names []string
	for _, w := range u.Set.Withheld {
		names = append(names, w.Listener)
	}
	return strings.Join(names, " ")
}

// prefixes gives each listener's first route, to tell which version is served.
func prefixes(u source.Update) string {
	var all []string
	for _, l := range u.Set.Listeners {
		all = append(all, l.Name+l.Routes[0].Prefix)
	}
	return strings.Join(all, " ")
}

func routed(name, prefix string) string {
	return strings.Replace(listener(name), "prefix: /", "prefix: /"+prefix, 1)
}

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
