package misspelt

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"name", "module", "config", "onFailure", "root_id"}
	for got, want := range map[string]string{
		"nmae": "name", "Name": "name", "modul": "module", "onfailure": "onFailure", "rootID": "root_id",
		"on_failure": "onFailure", "x": "", "": "", "somethingElse": "", "conf": "config",
	} {
		if best := Nearest(got, names); best != want {
			t.Errorf("%q: %q, want %q", got, best, want)
		}
	}
}
