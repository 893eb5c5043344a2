package source

import (
	"context"
	"log/slog"
	"strings"

	"wasmxds/definition"
	"wasmxds/state"
)

// lastGood keeps each document's last good content, and which listeners are in
// force while others are withheld. It is for one goroutine, and holds nothing
// up.
type lastGood struct {
	kept    state.View
	log     *slog.Logger
	changed map[string][]byte // since write; nil: removed
}

func newLastGood(w *state.Writer, log *slog.Logger) *lastGood {
	return &lastGood{kept: w.View("definitions/"), log: log, changed: map[string][]byte{}}
}

// prefixOf is what the keys of a source begin with. The directory's are the
// paths of its files, none of which begins with a dot.
func prefixOf(source string) string {
	if source == Dir {
		return ""
	}
	return "." + source + "/"
}

// knownKey says that a source other than the directory was known once, and had
// nothing. Its documents say so else.
func knownKey(source string) string { return ".known/" + source }

// wasEmpty says whether a source was known and had nothing.
func (k *lastGood) wasEmpty(source string) bool {
	_, empty := k.all()[knownKey(source)]
	return empty
}

// putEmpty keeps that a source is known and has nothing.
func (k *lastGood) putEmpty(source string) { k.changed[knownKey(source)] = []byte("empty") }

// load gives what was kept of a source, by name.
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

// loadForce gives the listeners in force that were kept.
func (k *lastGood) loadForce() ([]byte, bool) {
	data, ok := k.all()[forceFile]
	return data, ok
}

func (k *lastGood) all() map[string][]byte {
	all := map[string][]byte{}
	for _, e := range k.kept.All(context.Background()) { // it starts: there is nothing that could end it
		if len(e.Value) > definition.MaxSize && e.Key != forceFile {
			k.log.Warn("the last good content of a file is larger than what is read", "file", e.Key, "bytes", len(e.Value), "limit", definition.MaxSize)
			continue
		}
		all[e.Key] = e.Value
	}
	return all
}

// put keeps a document's content from the next write on; nil forgets the
// document.
func (k *lastGood) put(key Key, data []byte) { k.changed[prefixOf(key.Source)+key.Name] = data }

// putForce keeps which listeners are in force.
func (k *lastGood) putForce(data []byte) { k.changed[forceFile] = data }

// write has all that was put since the last time written, all of it or nothing:
// listeners that are withheld are kept apart from the files that have them.
func (k *lastGood) write() {
	if len(k.changed) == 0 {
		return
	}
	k.kept.PutAll(k.changed)
	k.kept.Hurry()
	k.changed = map[string][]byte{}
}
