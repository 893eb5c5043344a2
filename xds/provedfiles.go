package xds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"wasmxds/resource"
)

// newProved begins with what an earlier server left in dir, a file for each
// filter. What can't be read or written is logged; it is needed only rarely.
func newProved(dir string, restore func(resource.Kept) (*resource.Filter, error), log *slog.Logger) *proved {
	p := &proved{filters: map[string][]*resource.Filter{}, instead: map[instead]*resource.Snapshot{},
		dir: dir, log: log, changed: map[string]bool{}, write: make(chan struct{}, 1)}
	if dir == "" {
		return p
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("cannot read which versions have run", "error", err)
	}
	for _, file := range files {
		filters, err := readProved(filepath.Join(dir, file.Name()), restore)
		if err != nil {
			log.Warn("cannot read which versions of a filter have run", "error", err)
			continue
		}
		p.filters[filters[0].Name] = filters
	}
	return p
}

func readProved(file string, restore func(resource.Kept) (*resource.Filter, error)) (filters []*resource.Filter, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kept []resource.Kept
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for _, k := range kept {
		f, err := restore(k)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		filters = append(filters, f)
	}
	if len(filters) == 0 {
		return nil, fmt.Errorf("read %s: it is empty", file)
	}
	return filters, nil
}

// run writes what changes, until ctx ends.
func (p *proved) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.write:
		}
		for name, filters := range p.take() {
			p.keepFile(name, filters)
		}
	}
}

// flush writes what is still to be written, as far as there is time.
func (p *proved) flush(deadline time.Time) {
	for name, filters := range p.take() {
		if !time.Now().Before(deadline) {
			p.log.Warn("not all versions that have run are kept: no time is left", "filter", name)
			return
		}
		p.keepFile(name, filters)
	}
}

func (p *proved) keepFile(name string, filters []*resource.Filter) {
	if err := p.save(name, filters); err != nil {
		p.log.Warn("cannot keep which versions of a filter have run", "filter", name, "error", err)
	}
}

// take gives the filters whose files are to be written.
func (p *proved) take() map[string][]*resource.Filter {
	p.mu.Lock()
	defer p.mu.Unlock()
	filters := map[string][]*resource.Filter{}
	for name := range p.changed {
		filters[name] = p.filters[name]
	}
	clear(p.changed)
	return filters
}

func (p *proved) save(name string, filters []*resource.Filter) error {
	file := filepath.Join(p.dir, resource.VersionOf([]byte(name))+".json")
	var kept []resource.Kept
	for _, f := range filters {
		if !f.Direct {
			kept = append(kept, f.Keep())
		}
	}
	if len(kept) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(file, b, 0o600)
}

// touch has a filter's file written. The caller holds p.mu.
func (p *proved) touch(name string) {
	clear(p.instead)
	if p.dir == "" {
		return
	}
	p.changed[name] = true
	select {
	case p.write <- struct{}{}:
	default:
	}
}
