package module

import (
	"slices"

	"wasmxds/definition"
)

// fitsPlace tells whether a module exports what is called at its filter's place. What
// can't be found out counts as fitting.
func (l *resolution) fitsPlace(f *definition.Filter, sha256 string) error {
	if !f.Logs() {
		return nil
	}
	w, err := l.Store.Wants(sha256)
	if err != nil || slices.Contains(w.Callbacks, "proxy_on_log") {
		return nil
	}
	return &ContentError{
		Message: "exports no proxy_on_log: as an access logger it would never be called",
		Hint:    "build it with the callback for logs, or leave place out for an HTTP filter",
	}
}
