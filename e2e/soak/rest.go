package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
)

// rest mends all that is broken and waits until every Envoy runs what is
// wanted.
func (s *stage) rest(ctx context.Context) error {
	start := time.Now()
	s.choose()
	var goals []*fleet.Goal
	for _, f := range s.played {
		goals = append(goals, f.WatchRoutes(s.revision+1, s.routes.goals(), append([]string{tap}, lasting...)...))
	}
	if err := s.mend(); err != nil {
		return err
	}
	err := harness.Poll(ctx, patience, func() error { return s.settled(ctx) })
	if err != nil {
		return fmt.Errorf("all was mended: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, g := range goals {
		if _, err := g.Wait(limited); err != nil {
			return fmt.Errorf("all was mended: played Envoys: %w", err)
		}
	}
	c := s.counted()
	s.log.Info("all runs as wanted", "after", time.Since(start).Round(time.Millisecond),
		"requests", c.Requests, "refused", c.Refused, "failed", c.Failed, "unfiltered", c.Unfiltered, "unwanted", c.Unwanted)
	return s.bad()
}

// settled is nil when the status says that all real Envoys run all filters as
// they are wanted.
func (s *stage) settled(ctx context.Context) error {
	if err := s.server.Running(); err != nil {
		return err
	}
	status, err := s.server.Status(ctx)
	if err != nil {
		return err
	}
	if len(status.Definitions.Errors) > 0 {
		return fmt.Errorf("the status has the errors %+v", status.Definitions.Errors)
	}
	names := s.all()
	for _, f := range status.Filters {
		if f.VariantOf != "" {
			names = append(names, f.Name)
		}
	}
	if want := len(s.all()) + s.routes.variants(); len(status.Filters) != want || len(names) != want {
		return fmt.Errorf("the status has %d filters, want %d and %d variants", len(status.Filters), len(s.all()), s.routes.variants())
	}
	for _, e := range s.envoys {
		if err := e.Running(); err != nil {
			return err
		}
		for _, name := range names {
			at, err := status.Filter(e.id, name)
			if err != nil {
				return err
			}
			if at.State != "running" || at.Running != at.Wanted {
				return fmt.Errorf("%s: %+v", e.id, at)
			}
		}
		if err := errors.Join(e.Ready(ctx), s.asked(ctx, e)); err != nil {
			return err
		}
	}
	return nil
}

// figures are of xds-server's process.
type figures struct {
	goroutines, files int
	memory, heap      float64 // MiB: resident, and objects on the heap
}

func (f figures) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %.1f MiB resident, %.1f MiB heap", f.goroutines, f.files, f.memory, f.heap)
}

// figures are read from the server's metrics, after two collections of garbage:
// pools keep what they have over one. The profile that comes with it stays with
// the soak's files.
func (s *stage) figures(ctx context.Context, part string) (f figures, err error) {
	for range 2 {
		if err := s.profile(ctx, strings.ReplaceAll(part, " ", "-")+".heap"); err != nil {
			return f, err
		}
	}
	metrics, err := s.server.Get(ctx, "/metrics")
	if err != nil {
		return f, err
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(metrics)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	f = figures{goroutines: int(values["go_goroutines"]), files: int(values["process_open_fds"]),
		memory: values["process_resident_memory_bytes"] / (1 << 20), heap: values["go_memstats_alloc_bytes"] / (1 << 20)}
	if f.goroutines == 0 || f.files == 0 || f.memory == 0 {
		return f, fmt.Errorf("the metrics lack go_goroutines (%d), process_open_fds (%d) or process_resident_memory_bytes (%.0f)", f.goroutines, f.files, f.memory)
	}
	return f, nil
}

// profile writes what the server's heap holds, after a collection.
func (s *stage) profile(ctx context.Context, file string) error {
	profile, err := s.server.Get(ctx, "/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, file), profile, 0o644)
}

// How much more there may be at the end than at the beginning: connections
// come and go all the time, and the collector has its own times.
const (
	moreGoroutines = 100
	moreFiles      = 50
	moreHeap       = 16 // MiB
	moreMemory     = 48 // MiB
)

// flat compares the figures with those from before.
func (f figures) flat(before figures) error {
	var errs []error
	if f.goroutines > before.goroutines+moreGoroutines {
		errs = append(errs, fmt.Errorf("%d goroutines, were %d", f.goroutines, before.goroutines))
	}
	if f.files > before.files+moreFiles {
		errs = append(errs, fmt.Errorf("%d open files, were %d", f.files, before.files))
	}
	if f.heap > before.heap+moreHeap {
		errs = append(errs, fmt.Errorf("%.1f MiB of heap after a collection, were %.1f", f.heap, before.heap))
	}
	if f.memory > before.memory+moreMemory {
		errs = append(errs, fmt.Errorf("%.1f MiB resident, were %.1f", f.memory, before.memory))
	}
	return errors.Join(errs...)
}
