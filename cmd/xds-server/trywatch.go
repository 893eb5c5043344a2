package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wasmxds/definition/kinds"
)

// look is how often files are looked at. A file that is being written is waited for: all
// must be the same in two looks.
const look = 50 * time.Millisecond

// stamp is what tells one content of a file from another, without reading it.
type stamp struct {
	size int64
	at   time.Time
}

// watching runs at once, and again when one of the files that a filter is made of has
// changed, until ctx ends.
func (f *tryFlags) watching(ctx context.Context, args []string, run func()) error {
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	w := watch{flags: f, args: args, modules: map[string]modulesOf{}}
	var ran, seen map[string]stamp
	for {
		now := w.stamps()
		if ran == nil || !maps.Equal(now, ran) && maps.Equal(now, seen) {
			ran = now
			run()
		}
		seen = now
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// watch looks at the files that a filter is made of.
type watch struct {
	flags   *tryFlags
	args    []string
	modules map[string]modulesOf // by file of definitions
}

// modulesOf are the files of modules that a file names, as it was then.
type modulesOf struct {
	stamp stamp
	files []string
}

func (w *watch) stamps() map[string]stamp {
	all := map[string]stamp{}
	add := func(name string) {
		if info, err := os.Stat(name); name != "" && err == nil && info.Mode().IsRegular() {
			all[name] = stamp{info.Size(), info.ModTime()}
		}
	}
	add(w.flags.with)
	add(w.flags.request.har)
	if name, ok := strings.CutPrefix(w.flags.config, "@"); ok {
		add(name)
	}
	for _, arg := range w.args {
		if filepath.Ext(arg) == ".wasm" {
			add(arg)
			continue
		}
		names, err := definitionsOf([]string{arg}, w.flags.origins.roots)
		if err != nil {
			continue // it may come back
		}
		for _, name := range names {
			add(name)
			for _, module := range w.modulesIn(name, all[name]) {
				add(module)
			}
			beside, _ := os.ReadDir(filepath.Dir(name)) // as configFrom names them; none where it is gone
			for _, other := range beside[:min(len(beside), 1000)] {
				add(filepath.Join(filepath.Dir(name), other.Name()))
			}
		}
	}
	return all
}

func (w *watch) modulesIn(name string, s stamp) []string {
	if known, ok := w.modules[name]; ok && known.stamp == s {
		return known.files
	}
	found := modulesOf{stamp: s}
	data, err := readLimited(name)
	if err != nil {
		return nil
	}
	if file, _ := kinds.Parser().Parse(absolute(name), data); file != nil {
		for _, filter := range file.Filters {
			if path, ok := filter.Module.Path(); ok {
				found.files = append(found.files, path)
			}
		}
	}
	w.modules[name] = found
	return found.files
}
