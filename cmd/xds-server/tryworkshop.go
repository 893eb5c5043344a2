package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/files"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/try"
)

// workshop is where filters are tried: a store of modules that is gone afterwards, and
// what fetches and runs them.
type workshop struct {
	dir     string
	store   *module.Store
	runner  *dryrun.Runner
	options module.Options
	end     func()
}

func (f *tryFlags) workshop(ctx context.Context, args []string) (*workshop, error) {
	dir, err := os.MkdirTemp("", "xds-server-")
	if err != nil {
		return nil, fmt.Errorf("make a place for modules: %w", err)
	}
	store, err := module.Open(dir)
	if err == nil {
		var options module.Options
		var end func()
		if options, end, err = f.origins.options(ctx, store, foldersOf(args), nil, nil, slog.New(slog.DiscardHandler)); err == nil {
			runner := options.Runner.(*dryrun.Runner)
			options.Runner, options.Tester = nil, nil // a filter that does not start is played all the same
			return &workshop{dir, store, runner, options, end}, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func (w *workshop) close() {
	w.end()
	_ = os.RemoveAll(w.dir) // the system's place for such files
}

// subject is the filter that is tried.
type subject struct {
	try.Trial
	tests    []definition.TestCase // nil: it has none, or requests are given
	warnings []definition.Problem
	files    []string // of definitions, as they were named
	// bare: it is a module without a definition. connections: its module has callbacks for them.
	bare, connections bool
}

// large is how many bytes a module has that takes a second to be compiled.
const large = 1 << 20

// play plays the requests, or else the tests, or else GET /.
func (s *subject) play(ctx context.Context, requests []definition.TestCase) ([]try.Outcome, error) {
	if requests == nil && s.tests != nil {
		s.Compile = false // each has a VM of its own, and would wait for that
		var all []try.Outcome
		for _, c := range s.tests {
			out, err := s.Case(ctx, c)
			if err != nil {
				return nil, explained(err)
			}
			s.hint(&out)
			all = append(all, out)
		}
		return all, nil
	}
	if err := fit(s.Filter, requests); err != nil {
		return nil, err
	}
	s.tests = nil
	switch get := try.Get(); {
	case requests != nil:
	case s.Filter.Place.Network:
		requests = []definition.TestCase{new(requestFlags).connection(definition.TestStream{})}
	default:
		requests = []definition.TestCase{named(get, get.Request)}
	}
	var streams []definition.TestStream
	for _, r := range requests {
		streams = append(streams, r.TestStream)
	}
	all, err := s.Together(ctx, streams...)
	if err != nil {
		return nil, explained(err)
	}
	for i := range all {
		all[i].Name = requests[i].Name
		s.hint(&all[i])
	}
	return all, nil
}

// subject finds what is tried, as it is now.
func (w *workshop) subject(ctx context.Context, f *tryFlags, args []string) (*subject, error) {
	modules := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return filepath.Ext(a) != ".wasm" })
	if len(modules) > 1 {
		return nil, fmt.Errorf("several modules: %s; give one, and the other with --with", strings.Join(modules, " "))
	}
	if f.config != "" && len(modules) == 0 {
		return nil, errors.New("--config applies to a module; a definition has its own configuration")
	}
	if f.rootID != "" && len(modules) == 0 {
		return nil, errors.New("--root-id is for a module; a definition has its rootID")
	}
	paths := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return filepath.Ext(a) == ".wasm" })
	names, err := definitionsOf(paths, f.origins.roots)
	if err != nil {
		return nil, err
	}
	if len(modules) == 1 {
		return w.bare(ctx, f, modules[0], names, paths)
	}
	return w.defined(ctx, f, nil, names, paths)
}

// bare finds a module that has no definition. What it is for is known from its callbacks, so its
// file is read before it is fetched: if the file was replaced in between, this begins again.
func (w *workshop) bare(ctx context.Context, f *tryFlags, path string, names, paths []string) (*subject, error) {
	if _, err := os.Stat(path); err != nil { // of its definition, which nobody wrote, nothing is to be said
		return nil, fmt.Errorf("read the module: %w", err)
	}
	for range 10 {
		looked, network := w.onlyConnections(path)
		file, err := f.definitionOf(path, f.request.sent != nil || network)
		if err != nil {
			return nil, err
		}
		s, err := w.defined(ctx, f, file, names, paths)
		if err != nil {
			if now, _ := w.onlyConnections(path); now == looked {
				return nil, err
			}
		} else if s.Module.SHA256 == looked {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s is replaced by another module again and again", path)
}

// defined finds a filter of definitions. If file is set, it is the one in it.
func (w *workshop) defined(ctx context.Context, f *tryFlags, file *definition.File, names, paths []string) (*subject, error) {
	var given []*definition.File
	if file != nil {
		given = append(given, file)
	}
	set, problems := readWith(given, names, paths)
	problems = asTyped(problems, names)
	s := &subject{files: names}
	for _, p := range problems {
		if !p.Warning {
			return nil, withHint(p, p.Hint)
		}
		s.warnings = append(s.warnings, p)
	}
	filter, err := f.choose(set, given)
	if err != nil {
		return nil, err
	}
	if why := filter.Untested(); why != "" {
		return nil, fmt.Errorf("%s %s", filter.Name, why)
	}
	for _, t := range set.TestsOf(filter.Name) {
		s.tests = append(s.tests, t.Cases...)
	}
	s.Player, s.Compile, s.Count, s.Profile = w.runner, true, true, f.profile != ""
	s.bare = len(given) > 0
	if s.bare && slices.ContainsFunc(s.tests, hasConnection) {
		filter = asNetwork(filter)
	}
	if s.Filter, s.Module, err = w.fetch(ctx, filter); err != nil {
		return nil, err
	}
	wants, err := w.store.Wants(s.Module.SHA256)
	s.connections = wants.Connections()
	if f.watch && s.Module.Size > large {
		s.Compile = false
	}
	return s, err
}

// definitionOf is one of a module that has none.
func (f *tryFlags) definitionOf(path string, network bool) (*definition.File, error) {
	config := f.config
	if name, ok := strings.CutPrefix(config, "@"); ok {
		text, err := files.Read(name, definition.MaxSize)
		if err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		config = string(text)
	}
	name := cmp.Or(f.filter, strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".wasm"), " ", "-"))
	document := map[string]any{"kind": "WasmFilter", "name": name, "module": map[string]any{"url": absolute(path)}}
	if config != "" {
		document["config"] = config
	}
	if network {
		document["place"] = "network"
	}
	if f.rootID != "" {
		document["rootID"] = f.rootID
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", path, err)
	}
	file, problems := kinds.Parser().Parse(absolute(path)+".json", text)
	if file == nil {
		return nil, withHint(problems[0], problems[0].Hint)
	}
	return file, nil
}

// choose gives the filter that is meant.
func (f *tryFlags) choose(set *definition.Set, given []*definition.File) (*definition.Filter, error) {
	if len(given) > 0 {
		return given[0].Filters[0], nil
	}
	var names []string
	for _, filter := range set.Filters {
		if filter.Name == f.filter || f.filter == "" && len(set.Filters) == 1 {
			return filter, nil
		}
		names = append(names, filter.Name)
	}
	switch {
	case len(names) == 0:
		return nil, errors.New("it contains no filter")
	case f.filter == "":
		return nil, fmt.Errorf("it contains several filters: choose one with --filter: %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("--filter %s: no such filter; there are %s", f.filter, strings.Join(names, ", "))
}

// fetch gets the module of a filter.
func (w *workshop) fetch(ctx context.Context, f *definition.Filter) (*definition.Filter, module.Info, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := make(chan *definition.Set, 1)
	updates <- &definition.Set{Filters: []*definition.Filter{f}}
	var last *module.Filter
	err := module.New(w.options).Run(ctx, updates, func(s *module.Set) {
		if last = s.Filters[0]; last.State != module.Fetching {
			cancel()
		}
	})
	switch {
	case err != nil:
		return nil, module.Info{}, fmt.Errorf("get the module: %w", err)
	case last == nil || last.State != module.Good:
		reason := "it did not come in time"
		if last != nil && last.State == module.Failed {
			reason = last.Reason
		}
		return nil, module.Info{}, fmt.Errorf("%v: module: %s", f.Pos, reason)
	}
	return last.Definition, last.Module, nil
}

// put takes a module from a file.
func (w *workshop) put(path string) (module.Info, error) {
	f, _, err := files.Open(path)
	if err != nil {
		return module.Info{}, err
	}
	defer f.Close()
	return w.store.Put(f, module.DefaultLimit)
}

// with is the same filter with another module.
func (w *workshop) with(s *subject, path string) (*subject, error) {
	info, err := w.put(path)
	if err != nil {
		return nil, err
	}
	other := *s
	other.Module = info
	if s.Filter.AllowComputed {
		wants, err := w.store.Wants(info.SHA256)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		filter := *s.Filter
		filter.Allow = wants.All()
		other.Filter = &filter
	}
	return &other, nil
}
