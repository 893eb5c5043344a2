package resource

import (
	"bytes"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestRestore checks that a restored filter is the same in all its encodings.
func TestRestore(t *testing.T) {
	d := wasm("open", shaA, "text")
	d.Definition.OnFailure = definition.Open
	f := mustCompile(t, nil, &module.Set{Filters: []*module.Filter{d}}).Filter("open")
	k := f.Keep()
	o := opts
	got, err := o.Restore(k)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != f.Name || got.TwinName != f.TwinName || got.Version != f.Version || got.SHA256 != f.SHA256 || got.OnFailure != definition.Open {
		t.Errorf("restored %+v, want %+v", got, f)
	}
	if got.ID != f.ID || got.VersionIn("slot/web/0/0") != f.VersionIn("slot/web/0/0") {
		t.Errorf("restored it is told apart by %s, not %s", got.ID, f.ID)
	}
	for attempt := range 3 {
		if a, b := got.In("slot/web/0/0", attempt), f.In("slot/web/0/0", attempt); a.Version != b.Version || !bytes.Equal(a.Value, b.Value) {
			t.Errorf("attempt %d: a listener's own slot differs", attempt)
		}
		if a, b := got.Slot(attempt), f.Slot(attempt); a.Version != b.Version || !bytes.Equal(a.Value, b.Value) {
			t.Errorf("attempt %d: the slot differs", attempt)
		}
		if a, b := got.Twin(attempt), f.Twin(attempt); a.Version != b.Version || !bytes.Equal(a.Value, b.Value) {
			t.Errorf("attempt %d: the twin differs", attempt)
		}
	}
	if !bytes.Equal(got.Noop().Value, f.Noop().Value) || !bytes.Equal(got.TwinNoop().Value, f.TwinNoop().Value) {
		t.Error("the noops differ")
	}

	for name, change := range map[string]func(*Kept){
		"another version": func(k *Kept) { k.Version = "0123456789abcdef" },
		"cut off":         func(k *Kept) { k.Slot = k.Slot[:len(k.Slot)-3] },
		"empty":           func(k *Kept) { k.Slot = nil },
		"no Wasm":         func(k *Kept) { k.Slot = f.Noop().Value },
	} {
		k := f.Keep()
		k.Slot = bytes.Clone(k.Slot)
		change(&k)
		if _, err := o.Restore(k); err == nil || !strings.Contains(err.Error(), "restore filter open") {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
}
