package main

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/certs"
	"wasmxds/identity/admission"
)

// TestExpiry: who watches status or metrics knows of a certificate that ends before
// no Envoy can connect.
func TestExpiry(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if _, err := certs.Dev(dir, certs.Development{Valid: 6 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "server.crt")
	store, err := certs.Load(certs.Files{Cert: name, Key: filepath.Join(dir, "server.key")}, log)
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{log: log, files: []guardedFile{{name, store}}}
	if g.admission, err = admission.New(admission.Options{Log: log}); err != nil {
		t.Fatal(err)
	}
	end := g.expiries()[name]
	for _, c := range []struct {
		left    time.Duration
		want    string // "": nothing
		warning bool
	}{
		{2 * time.Hour, "", false},
		{30 * time.Minute, "the certificate ends at ", true},
		{-time.Minute, "the certificate ended at ", false},
	} {
		all := g.problems(end.Add(-c.left))
		switch {
		case c.want == "":
			if len(all) > 0 {
				t.Errorf("with %v left: %v", c.left, all)
			}
		case len(all) != 1 || all[0].File != name || !strings.HasPrefix(all[0].Message, c.want) || all[0].Warning != c.warning || all[0].Hint == "":
			t.Errorf("with %v left: %+v, want %q", c.left, all, c.want)
		}
	}
}
