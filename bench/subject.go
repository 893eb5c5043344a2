package main

import (
	"context"
	"fmt"
	"strings"

	"wasmxds/bench/fleet"
)

// filters is how many Wasm filters every Envoy has, of configBytes each.
const (
	filters     = 20
	configBytes = 2000
)

// subject is a server that is measured, with all that a fleet needs in place.
type subject struct {
	name    string
	address string // of ADS
	process *process

	// change makes a revision the newest of these filters; nil: it can't change.
	change func(revision int, filters []int) error
	// module does so for the first filter, and makes its module another one, of
	// so many bytes; nil: it has no safe way.
	module func(revision, size int) error
	// route does so for one filter on one route alone; there where module is.
	route func(revision int) error
	admin string // address with /debug/pprof/; "": none
}

func (s *subject) stop() error {
	if err := s.process.stop(); err != nil {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	return nil
}

// startFunc starts a subject in a directory of its own.
type startFunc func(ctx context.Context, r run, dir string) (*subject, error)

func filterName(i int) string { return fmt.Sprintf("filter-%02d", i) }

func allFilters() []int {
	all := make([]int, filters)
	for i := range all {
		all[i] = i
	}
	return all
}

func namesOf(filters []int) []string {
	names := make([]string, len(filters))
	for i, f := range filters {
		names[i] = filterName(f)
	}
	return names
}

// config is the configuration of a filter: a mark, and what a filter with some
// rules has.
func config(filter, revision int) string {
	s := fmt.Sprintf("%s filter %d ", fleet.Mark(revision), filter)
	return s + strings.Repeat("rule=allow header=x-request-id; ", configBytes)[:configBytes-len(s)]
}
