package source

import (
	"context"
	"log/slog"

	"wasmxds/state"
)

// lastGood keeps each file's last good content, by its path below the directory
// that is watched. It is for one goroutine, and holds nothing up.
type lastGood struct {
	kept    state.View
	log     *slog.Logger
	changed map[string][]byte // since write; nil: removed
}

func newLastGood(w *state.Writer, log *slog.Logger) *lastGood {
	return &lastGood{kept: w.View("definitions/"), log: log, changed: map[string][]byte{}}
}

// load gives what was kept, by path.
func (k *lastGood) load(limit int64) map[string][]byte {
	kept := map[string][]byte{}
	for _, e := range k.kept.All(context.Background()) { // it starts: there is nothing that could end it
		if int64(len(e.Value)) > limit {
			k.log.Warn("the last good content of a file is larger than what is read", "file", e.Key, "bytes", len(e.Value), "limit", limit)
			continue
		}
		kept[e.Key] = e.Value
	}
	return kept
}

// put keeps a file's content from the next write on; nil forgets the file.
func (k *lastGood) put(rel string, data []byte) { k.changed[rel] = data }

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
