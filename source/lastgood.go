package source

import (
	"context"
	"log/slog"
	"strings"

	"wasmxds/definition"
	"wasmxds/state"
)

// lastGood stores the last good content of each document, and which listeners
// are in force while others are withheld. It is for one goroutine, and never
// blocks.
type lastGood struct {
	kept    state.View
	log     *slog.Logger
	changed map[string][]byte // since the last write; nil: removed
}

func newLastGood(w *state.Writer, log *slog.Logger) *lastGood {
	return &lastGood{kept: w.View("definitions/"), log: log, changed: map[string][]byte{}}
}

// prefixOf returns the prefix of the keys of a source. The keys of the
// directory are the paths of its files, none of which begins with a dot.
func prefixOf(source string) string {
	if source == Dir {
		return ""
	}
	return "." + source + "/"
}

// knownKey returns a key that is set if a source other than the directory was
// known and empty. For a source that is not empty, its documents show that it
// was known.
func knownKey(source string) string { return ".known/" + source }

// wasEmpty reports whether a source was known and empty.
func (k *lastGood) wasEmpty(source string) bool {
	_, empty := k.all()[knownKey(source)]
	return empty
}

// putEmpty stores that a source is known and empty.
func (k *lastGood) putEmpty(source string) { k.changed[knownKey(source)] = []byte("empty") }

// load returns the stored documents of a source, by name.
func (k *lastGood) load(source string) map[string][]byte {
	kept := map[string][]byte{}
	for key, data := range k.all() {
		name, ok := strings.CutPrefix(key, prefixOf(source))
		if ok && !strings.HasPrefix(name, ".") || ok && source != Dir {
			kept[name] = data
		}
	}
	return kept
}

// loadForce returns the stored listeners in force.
func (k *lastGood) loadForce() ([]byte, bool) {
	data, ok := k.all()[forceFile]
	return data, ok
}

func (k *lastGood) all() map[string][]byte {
	all := map[string][]byte{}
	for _, e := range k.kept.All(context.Background()) { // at the start, there is nothing to cancel
		if len(e.Value) > definition.MaxSize && e.Key != forceFile {
			k.log.Warn("the last good version of a file exceeds the size limit", "file", e.Key, "bytes", len(e.Value), "limit", definition.MaxSize)
			continue
		}
		all[e.Key] = e.Value
	}
	return all
}

// put sets the content of a document for the next write; nil removes it.
func (k *lastGood) put(key Key, data []byte) { k.changed[prefixOf(key.Source)+key.Name] = data }

// putForce sets the listeners in force for the next write.
func (k *lastGood) putForce(data []byte) { k.changed[forceFile] = data }

// write stores everything that was put since the last write, atomically,
// because the listeners in force are stored apart from the files that contain
// them.
func (k *lastGood) write() {
	if len(k.changed) == 0 {
		return
	}
	k.kept.PutAll(k.changed)
	k.kept.Hurry()
	k.changed = map[string][]byte{}
}
