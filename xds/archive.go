package xds

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"wasmxds/resource"
)

// archive keeps the listeners that Envoys were sent in a folder, for the server
// that comes after this one: a state-of-the-world Envoy that is to keep a
// listener needs it in each response. A nil archive keeps nothing.
type archive struct {
	dir string
	log *slog.Logger
	in  chan *resource.Listener
}

// archived is the content of a file.
type archived struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Slots   []string `json:"slots,omitempty"`
	Static  []string `json:"static,omitempty"`
	Value   []byte   `json:"value"`
	Sum     string   `json:"sum"` // of it
}

const (
	archiveKeep  = 30 * 24 * time.Hour // for Envoys that were away
	archiveMost  = 2000                // files
	archiveTouch = time.Hour           // how often those that Envoys have are noted as in use
	flushTime    = 5 * time.Second     // for what is not written when the server ends
)

func newArchive(dir string, log *slog.Logger) *archive {
	return &archive{dir: dir, log: log, in: make(chan *resource.Listener, 1024)}
}

// load reads what is there, and deletes what is old or not readable. What
// can't be read or written is logged; it is needed only rarely.
func (a *archive) load(now time.Time) []*resource.Listener {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		a.log.Warn("cannot keep the listeners that are sent", "error", err)
		return nil
	}
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		a.log.Warn("cannot read the sent listeners", "error", err)
		return nil
	}
	type file struct {
		path string
		at   time.Time
	}
	var files []file
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, file{filepath.Join(a.dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(x, y file) int { return y.at.Compare(x.at) })
	var out []*resource.Listener
	for i, f := range files {
		l, err := readArchived(f.path)
		if err == nil && i < archiveMost && now.Sub(f.at) < archiveKeep {
			out = append(out, l)
			continue
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("cannot remove a sent listener", "error", err)
		}
	}
	return out
}

func readArchived(path string) (*resource.Listener, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c archived
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	r := &resource.Resource{TypeURL: resource.ListenerType, Name: c.Name, Version: c.Version, Value: c.Value}
	if c.Sum != resource.VersionOf(c.Value) {
		return nil, errors.New("its content is not what was written")
	}
	return &resource.Listener{Resource: r, Slots: c.Slots, Static: c.Static}, nil
}

// sent is told of each listener that is sent for the first time. It does not
// block.
func (a *archive) sent(l *resource.Listener) {
	select {
	case a.in <- l:
	default:
		a.log.Warn("a sent listener is not kept: too many at once", "listener", l.Name)
	}
}

// run writes until ctx ends. Files age from when an Envoy was last seen to have
// the listener, which held tells.
func (a *archive) run(ctx context.Context, held func() []*resource.Listener) {
	touch := time.NewTicker(archiveTouch)
	defer touch.Stop()
	for {
		select {
		case <-ctx.Done():
			a.touch(held(), time.Now())
			return
		case <-touch.C:
			a.touch(held(), time.Now())
		case l := <-a.in:
			a.keep(l)
		}
	}
}

// flush writes what is still to be written, as far as there is time.
func (a *archive) flush(deadline time.Time) {
	for time.Now().Before(deadline) {
		select {
		case l := <-a.in:
			a.keep(l)
		default:
			return
		}
	}
	if n := len(a.in); n > 0 {
		a.log.Warn("sent listeners are not kept: no time is left", "listeners", n)
	}
}

// touch notes that listeners are in use, and writes those that are not there.
func (a *archive) touch(listeners []*resource.Listener, now time.Time) {
	for _, l := range listeners {
		err := os.Chtimes(a.file(l), now, now)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			a.keep(l)
		case err != nil:
			a.log.Warn("cannot note that a sent listener is in use", "listener", l.Name, "error", err)
		}
	}
}

func (a *archive) keep(l *resource.Listener) {
	if err := a.write(l); err != nil {
		a.log.Warn("cannot keep a sent listener", "listener", l.Name, "error", err)
	}
}

func (a *archive) file(l *resource.Listener) string { return filepath.Join(a.dir, l.Version+".json") }

func (a *archive) write(l *resource.Listener) error {
	b, err := json.Marshal(archived{Name: l.Name, Version: l.Version, Slots: l.Slots, Static: l.Static, Value: l.Value, Sum: resource.VersionOf(l.Value)})
	if err != nil {
		return err
	}
	return renameio.WriteFile(a.file(l), b, 0o600)
}
