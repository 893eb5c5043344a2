package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"wasmxds/bench/fleet"
	"wasmxds/bench/replay"
)

// replayed starts a server that replays what xds-server sends to a fresh Envoy. It knows no
// changes.
func replayed(program string) startFunc {
	return func(ctx context.Context, r run, dir string) (*subject, error) {
		recording, err := record(ctx, program, r, filepath.Join(dir, "recorded"))
		if err != nil {
			return nil, fmt.Errorf("record xds-server: %w", err)
		}
		file := filepath.Join(dir, "recording.json")
		if err := recording.Write(file); err != nil {
			return nil, err
		}
		s, err := reference("replay", envRecording+"="+file)(ctx, r, dir)
		if err != nil {
			return nil, err
		}
		s.change = nil
		return s, nil
	}
}

// record has one Envoy connect to xds-server, and records what it is sent.
func record(ctx context.Context, program string, r run, dir string) (recording *replay.Recording, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s, err := ours(program)(ctx, run{Server: "wasmxds", Clients: 1, Delta: r.Delta}, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	recorder, err := replay.NewRecorder(s.address, r.Delta)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { return recorder.Run(ctx) })
	defer func() { cancel(); err = errors.Join(err, g.Wait()) }()
	f, err := fleet.New(fleet.Options{Address: recorder.Address(), Delta: r.Delta, Clients: 1})
	if err != nil {
		return nil, err
	}
	goal := f.Watch(1, namesOf(allFilters())...)
	f.Start(ctx)
	defer f.Stop()
	if _, err := goal.Wait(ctx); err != nil {
		return nil, err
	}
	rest(ctx, time.Second) // for what comes last, which the filters don't wait for
	return recorder.Recording(), nil
}
