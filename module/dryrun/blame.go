package dryrun

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"wasmxds/module"
)

// blame remembers, across restarts, which trials end the process that they
// run in or never come to an end: they are not run again. Each trial is noted
// when it begins, as some may end this very process with theirs (a container
// whose memory is used up is killed as a whole).
type blame struct {
	dir string // one file for each mark, by key; "": marks are kept in memory alone
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	marks map[string]mark // by the trial's key
}

// mark is against a trial.
type mark struct {
	Filter  string    `json:"filter"`
	SHA256  string    `json:"sha256"`
	Since   time.Time `json:"since"`
	Strikes int       `json:"strikes"`          // how often in a row it began and did not end
	Reason  string    `json:"reason,omitempty"` // the verdict; "": it may be tried
}

const (
	maxMarks   = 1000
	maxStrikes = 2
)

// newBlame reads what is remembered. A trial that was under way when this
// program ended has a strike; what can't be read is forgotten.
func newBlame(dir string, log *slog.Logger) (*blame, error) {
	b := &blame{dir: dir, log: log, now: time.Now, marks: map[string]mark{}}
	if dir == "" {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a place for what dry runs ended in: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read what dry runs ended in: %w", err)
	}
	for _, f := range files {
		key, found := strings.CutSuffix(f.Name(), ".json")
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		var m mark
		if err == nil {
			err = json.Unmarshal(content, &m)
		}
		if !found || err != nil {
			_ = os.Remove(filepath.Join(dir, f.Name()))
			continue
		}
		if m.Reason == "" {
			log.Warn("a dry run was under way when this program ended", "filter", m.Filter, "sha256", m.SHA256, "times", m.Strikes)
		}
		b.put(key, m)
	}
	return b, nil
}

// verdict gives what is remembered against a trial.
func (b *blame) verdict(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, found := b.marks[key]
	switch {
	case !found:
		return nil
	case m.Reason != "":
	case m.Strikes < maxStrikes:
		return nil
	default:
		m.Reason = fmt.Sprintf("dry run: xds-server, or the process that tried it, was killed %d times meanwhile", m.Strikes)
	}
	return &module.ContentError{
		Message: fmt.Sprintf("%s; not tried since %s", m.Reason, m.Since.UTC().Format(time.RFC3339)),
		Hint:    "it is tried again when the module or what the filter gives it changes; verify: abi leaves out the dry run",
	}
}

// strikes says how often a trial began and did not end.
func (b *blame) strikes(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.marks[key].Strikes
}

// strike notes how often a trial began and did not end; 0: there is nothing
// against it.
func (b *blame) strike(key string, in inputs, strikes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if strikes == 0 {
		b.drop(key)
		return
	}
	b.put(key, mark{in.Name, in.SHA256, b.now(), strikes, ""})
	b.save(key)
}

// convict notes a verdict, and gives it.
func (b *blame) convict(key string, in inputs, reason string) error {
	b.mu.Lock()
	b.put(key, mark{in.Name, in.SHA256, b.now(), 0, reason})
	b.save(key)
	b.mu.Unlock()
	return b.verdict(key)
}

// put sets a mark, and drops the oldest where there are too many.
func (b *blame) put(key string, m mark) {
	b.marks[key] = m
	for len(b.marks) > maxMarks {
		oldest := ""
		for k, other := range b.marks {
			if k != key && (oldest == "" || other.Since.Before(b.marks[oldest].Since)) {
				oldest = k
			}
		}
		b.drop(oldest)
	}
}

func (b *blame) drop(key string) {
	delete(b.marks, key)
	if b.dir == "" {
		return
	}
	if err := os.Remove(b.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Error("what a dry run ended in can't be removed", "error", err)
	}
}

func (b *blame) save(key string) {
	m := b.marks[key]
	if b.dir == "" {
		return
	}
	content, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(b.path(key), content, 0o600)
	}
	if err != nil {
		b.log.Error("what a dry run ends in can't be kept", "filter", m.Filter, "error", err)
	}
}

func (b *blame) path(key string) string { return filepath.Join(b.dir, key+".json") }
