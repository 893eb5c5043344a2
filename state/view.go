package state

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// View is the part of a [Writer] with the keys that begin with a prefix. Its methods take
// keys without the prefix. The zero View stores nothing.
type View struct {
	w      *Writer
	prefix string
}

// View returns the part with a prefix, such as "proved/". The View of a nil Writer stores
// nothing.
func (w *Writer) View(prefix string) View { return View{w, prefix} }

// Keeps reports whether anything is stored.
func (v View) Keeps() bool { return v.w != nil }

// Put stores value at key, as JSON. The value is encoded later, on another goroutine, so
// the caller must not change it any more.
func (v View) Put(key string, value any) {
	v.add(key, change{encode: func() ([]byte, error) { return json.Marshal(value) }})
}

// PutBytes stores value at key as it is.
func (v View) PutBytes(key string, value []byte) {
	v.add(key, change{encode: func() ([]byte, error) { return value, nil }})
}

// PutAll stores values as they are, in one batch. If a value is nil, the entry is removed.
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

// Remove removes the entry at key.
func (v View) Remove(key string) { v.add(key, change{remove: true}) }

func (v View) add(key string, c change) {
	if v.w != nil {
		v.w.add(map[string]change{v.prefix + key: c})
	}
}

// All returns the entries that have been written. If they can't be read, it logs the error
// and returns nil, because a process should start nevertheless.
func (v View) All(ctx context.Context) []Entry {
	entries, err := v.List(ctx)
	if err != nil {
		v.w.log.Error("the state from before the restart can't be read", "error", err)
		return nil
	}
	return entries
}

// List returns the entries that have been written, for callers that can't do without.
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

// Each decodes the entries that have been written and calls take for each, by key. If an
// entry can't be decoded or take returns an error, Each logs this, naming what, and removes
// the entry.
func Each[T any](ctx context.Context, v View, what string, take func(key string, value T) error) {
	for _, e := range v.All(ctx) {
		var value T
		err := json.Unmarshal(e.Value, &value)
		if err == nil {
			err = take(e.Key, value)
		}
		if err != nil {
			v.w.log.Error("an entry of the state from before the restart can't be used", "what", what, "key", e.Key, "error", err)
			v.Remove(e.Key)
		}
	}
}

// Hurry requests that what is pending is written at once, without waiting for it.
func (v View) Hurry() {
	if v.w != nil {
		tell(v.w.hurry)
	}
}

// Flush writes what is pending and waits for it.
func (v View) Flush(ctx context.Context) error {
	if v.w == nil {
		return nil
	}
	if err := v.w.Flush(ctx); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}
