package state

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// View is what a [Writer] keeps at the keys that begin with a prefix, which whoever
// uses it leaves out. The zero View keeps nothing.
type View struct {
	w      *Writer
	prefix string
}

// View gives the part of a prefix: "proved/". That of a nil Writer keeps nothing.
func (w *Writer) View(prefix string) View { return View{w, prefix} }

// Keeps says whether anything is kept.
func (v View) Keeps() bool { return v.w != nil }

// Put has value kept at key, as JSON. It is encoded when it is written, on another
// goroutine: it must not be changed any more.
func (v View) Put(key string, value any) {
	v.add(key, change{encode: func() ([]byte, error) { return json.Marshal(value) }})
}

// PutBytes has value kept at key as it is.
func (v View) PutBytes(key string, value []byte) {
	v.add(key, change{encode: func() ([]byte, error) { return value, nil }})
}

// PutAll has these values kept as they are, in one batch; where a value is nil the
// entry is removed.
func (v View) PutAll(values map[string][]byte) {
	if v.w == nil {
		return
	}
	changes := make(map[string]change, len(values))
	for key, value := range values {
		changes[v.prefix+key] = change{remove: value == nil, encode: func() ([]byte, error) { return value, nil }}
	}
	v.w.add(changes)
}

// Remove has the entry at key removed.
func (v View) Remove(key string) { v.add(key, change{remove: true}) }

func (v View) add(key string, c change) {
	if v.w != nil {
		v.w.add(map[string]change{v.prefix + key: c})
	}
}

// All gives what has been written. What can't be read is a pity for whoever
// starts, not a reason not to.
func (v View) All(ctx context.Context) []Entry {
	entries, err := v.List(ctx)
	if err != nil {
		v.w.log.Error("what was kept before the restart can't be read", "error", err)
		return nil
	}
	return entries
}

// List gives what has been written, to whoever can't do without.
func (v View) List(ctx context.Context) ([]Entry, error) {
	if v.w == nil {
		return nil, nil
	}
	entries, _, err := v.w.store.List(ctx, v.prefix)
	for i := range entries {
		entries[i].Key = strings.TrimPrefix(entries[i].Key, v.prefix)
	}
	return entries, err
}

// Each decodes what has been written, and has take take it, by key. An entry that
// can't be decoded or taken is logged as one of what, and removed.
func Each[T any](ctx context.Context, v View, what string, take func(key string, value T) error) {
	for _, e := range v.All(ctx) {
		var value T
		err := json.Unmarshal(e.Value, &value)
		if err == nil {
			err = take(e.Key, value)
		}
		if err != nil {
			v.w.log.Error("of what was kept before the restart something can't be used", "what", what, "key", e.Key, "error", err)
			v.Remove(e.Key)
		}
	}
}

// Hurry has what is pending written at once, and does not wait for it.
func (v View) Hurry() {
	if v.w != nil {
		tell(v.w.hurry)
	}
}

// Flush has what is pending written, and waits for it.
func (v View) Flush(ctx context.Context) error {
	if v.w == nil {
		return nil
	}
	if err := v.w.Flush(ctx); err != nil {
		return fmt.Errorf("write what was kept: %w", err)
	}
	return nil
}
