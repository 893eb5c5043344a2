package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wasmxds/bootstrap"
	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/files"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/source/dir"
)

// definitionsOf finds the files of definitions that serve would find below
// each path; a path that is a file is taken whatever its name. Links are
// followed to what is below the path, or one of the roots.
func definitionsOf(paths, roots []string) ([]string, error) {
	var files []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read definitions: %w", err)
		}
		if !info.IsDir() {
			files = append(files, p)
			continue
		}
		found, err := dir.Files(p, roots...)
		if err != nil {
			return nil, fmt.Errorf("read definitions: %w", err)
		}
		files = append(files, found...)
	}
	return files, nil
}

// absolute is the path that definitions are parsed under, so that modules
// beside them are found.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path // there is no working directory to be relative to
}

// asTyped tells problems at the files as they were named on the command line.
func asTyped(problems []definition.Problem, files []string) []definition.Problem {
	typed := make(map[string]string, len(files))
	for _, f := range files {
		typed[absolute(f)] = f
	}
	for i, p := range problems {
		if f, ok := typed[p.File]; ok {
			problems[i].File = f
		}
	}
	return problems
}

// readDefinitions reads and merges files as serve would.
func readDefinitions(files, below []string) (*definition.Set, []definition.Problem) {
	return readWith(nil, files, below)
}

// readWith does so with files that have been read.
func readWith(parsed []*definition.File, files, below []string) (*definition.Set, []definition.Problem) {
	var problems []definition.Problem
	for _, name := range files {
		data, err := readWithConfig(name, below)
		if err != nil {
			problems = append(problems, definition.Problem{File: name, Message: err.Error()})
			continue
		}
		f, found := kinds.Parser().Parse(absolute(name), data)
		problems = append(problems, found...)
		if f != nil {
			parsed = append(parsed, f)
		}
	}
	set, found := definition.Merge(parsed)
	return set, append(problems, found...)
}

// readWithConfig reads a file of definitions with the files that it names, which are in or
// below these folders, or those of these files.
func readWithConfig(name string, below []string) ([]byte, error) {
	data, err := readLimited(name)
	if err != nil {
		return nil, err
	}
	roots, err := files.NewRoots(foldersOf(below)...)
	if err != nil {
		return nil, err
	}
	return dir.WithConfigFiles(absolute(name), data, roots), nil
}

func readLimited(name string) ([]byte, error) { return files.Read(name, definition.MaxSize) }

// asIfThere is the set that serve would have if every module could be had.
func asIfThere(set *definition.Set) *module.Set {
	out := &module.Set{Listeners: set.Listeners, Resources: set.Resources, Rollouts: set.Rollouts}
	for _, f := range set.Filters {
		if f.Lua != nil {
			script := *f
			script.Lua = &definition.Lua{Script: cmp.Or(f.Lua.Script, "-- the file has it\n")}
			out.Filters = append(out.Filters, &module.Filter{Definition: &script, Wanted: f, State: module.Good})
			continue
		}
		sha := f.Module.SHA256
		if sha == "" {
			sha = strings.Repeat("0", 64)
		}
		out.Filters = append(out.Filters, &module.Filter{
			Definition: f, Wanted: f, State: module.Good, Module: module.Info{SHA256: sha},
		})
	}
	return out
}

// compiled tells what is wrong with what becomes of a set for Envoys, as serve has it by
// default.
func compiled(set *module.Set, pairs map[*definition.Listener]*resource.Pair) []definition.Problem {
	_, found := resource.Compile(nil, resource.Sets{Base: set, Pairs: pairs}, resource.Options{
		ModulesURL: "http://127.0.0.1:18001", Spares: defaultSpares(), Signals: bootstrap.XDSCluster,
	})
	return found.Base
}

// foldersOf gives those that definitions are in, of paths of files and folders.
func foldersOf(paths []string) []string {
	var folders []string
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			p = filepath.Dir(p)
		}
		folders = append(folders, p)
	}
	return folders
}

// fetchModules gets the modules of a set, which was read from some paths, into a store that is gone afterwards,
// and tries them, as serve would. It takes at most timeout; modules that are
// still on the way then are problems. What modules want is by the names of their filters.
func fetchModules(ctx context.Context, set *definition.Set, paths []string, origins *originFlags, timeout time.Duration) (*module.Set, map[string]module.Wants, error) {
	dir, err := os.MkdirTemp("", "xds-server-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a place for modules: %w", err)
	}
	defer os.RemoveAll(dir)
	store, err := module.Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("make a place for modules: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	options, end, err := origins.options(ctx, store, foldersOf(paths), nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	defer end()
	updates := make(chan *definition.Set, 1)
	updates <- set
	var last *module.Set
	err = module.New(options).Run(ctx, updates, func(s *module.Set) {
		last = s
		for _, f := range s.Filters {
			if f.State == module.Fetching {
				return
			}
		}
		cancel()
	})
	if last == nil && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("fetch modules: %w", err)
	}
	for _, f := range last.Filters {
		if f.State == module.Fetching {
			at := f.Wanted.Pos
			last.Problems = append(last.Problems, definition.Problem{File: at.File, Line: at.Line, Field: module.FieldOf(f.Wanted),
				Message: fmt.Sprintf("%s is not here after %v", definition.MaskURL(f.Wanted.Module.URL), timeout)})
		}
	}
	wants := map[string]module.Wants{}
	for _, f := range last.Filters {
		if w, err := store.Wants(f.Module.SHA256); err == nil {
			wants[f.Wanted.Name] = w
		}
	}
	return last, wants, nil
}
