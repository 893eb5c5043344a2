package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"wasmxds/bench/fleet"
)

// Groups are the figures of a change that concerns one of many groups of
// nodes: two filters for each Envoy, each with a definition of its own. Times
// are seconds from the moment the file began to be written.
type Groups struct {
	Groups      int     `json:"groups"`
	Definitions int     `json:"definitions"`
	Rounds      int     `json:"rounds"`
	FirstByte   float64 `json:"firstByte"` // to the first response, at the median
	FirstMax    float64 `json:"firstMax"`
	Swapped     float64 `json:"swapped"` // to the last ACK, at the median
	CPU         float64 `json:"cpu"`     // of the server, microseconds a change
	Others      int64   `json:"others"`  // responses to Envoys of other groups
}

const perGroup = 2

// groups measures xds-server alone.
func groups(ctx context.Context, o options, dir string) (*Groups, error) {
	definitions := filepath.Join(dir, "definitions")
	if err := os.MkdirAll(definitions, 0o755); err != nil {
		return nil, err
	}
	d := directory{definitions}
	if err := d.build(moduleFile, 1, 0); err != nil {
		return nil, err
	}
	if err := d.write("web.yaml", webListener); err != nil {
		return nil, err
	}
	for i := range o.groups * perGroup {
		if err := d.grouped(i, 1); err != nil {
			return nil, err
		}
	}
	s, err := startOurs(ctx, o.program, nil, run{}, dir, definitions, d)
	if err != nil {
		return nil, err
	}
	g, err := o.regroup(ctx, s, d)
	if ended := s.stop(); err == nil {
		err = ended
	}
	if err != nil {
		return nil, fmt.Errorf("%d groups: %w", o.groups, err)
	}
	return g, nil
}

func (d directory) grouped(i, revision int) error {
	return d.write(fmt.Sprintf("group-%04d.yaml", i), fmt.Sprintf(
		"kind: WasmFilter\nname: %s\nmodule: {url: ../%s}\nconfig: %q\nattach: {nodes: {ids: [edge-%05d]}}\n",
		filterName(i), moduleFile, config(i, revision), i/perGroup))
}

// regroup changes filters of the last group, one at a time.
func (o options) regroup(ctx context.Context, s *subject, d directory) (*Groups, error) {
	last := o.groups - 1
	others, err := fleet.New(fleet.Options{Address: s.address, Delta: true, Clients: last, Node: o.node})
	if err != nil {
		return nil, err
	}
	one, err := fleet.New(fleet.Options{Address: s.address, Delta: true, First: last, Clients: 1, Node: o.node})
	if err != nil {
		return nil, err
	}
	ready := []*fleet.Goal{others.Watch(0), one.Watch(0)}
	for _, f := range []*fleet.Fleet{others, one} {
		f.Start(ctx)
		defer f.Stop()
	}
	for _, g := range ready {
		if _, err := o.wait(ctx, g); err != nil {
			return nil, err
		}
	}
	rest(ctx, o.quiet)
	before, err := s.process.cpu()
	if err != nil {
		return nil, err
	}
	responses := others.Counts().Responses
	g := &Groups{Groups: o.groups, Definitions: o.groups * perGroup, Rounds: 2 * o.rounds}
	var first, swapped []time.Duration
	for round := range g.Rounds {
		i := last*perGroup + round%perGroup
		goal := one.Watch(2+round, filterName(i))
		if err := d.grouped(i, 2+round); err != nil {
			return nil, err
		}
		times, err := o.wait(ctx, goal)
		if err != nil {
			return nil, err
		}
		first, swapped = append(first, goal.First()), append(swapped, times[0])
		rest(ctx, o.pause)
	}
	after, err := s.process.cpu()
	if err != nil {
		return nil, err
	}
	g.FirstByte, g.FirstMax, g.Swapped = median(first), slices.Max(first).Seconds(), median(swapped)
	g.CPU = float64((after - before).Microseconds()) / float64(g.Rounds)
	g.Others = others.Counts().Responses - responses
	return g, nil
}

// wait waits for a goal, but not for ever.
func (o options) wait(ctx context.Context, g *fleet.Goal) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	return g.Wait(ctx)
}

func (g *Groups) table(out io.Writer) {
	fmt.Fprintf(out, "\n%d definitions for %d groups of nodes, one changes: %.0f ms to the first byte (at most %.0f; target 30), %.0f ms to the swap, %.0f µs CPU, %d responses to others\n",
		g.Definitions, g.Groups, g.FirstByte*1e3, g.FirstMax*1e3, g.Swapped*1e3, g.CPU, g.Others)
}
