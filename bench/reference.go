package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"wasmxds/bench/floor"
	"wasmxds/bench/naive"
	"wasmxds/bench/replay"
)

// A reference server is this program again, with these in its environment.
const (
	envServe     = "WASMXDS_BENCH_SERVE" // "naive", "floor" or "replay"
	envClients   = "WASMXDS_BENCH_CLIENTS"
	envCert      = "WASMXDS_BENCH_CERT"
	envKey       = "WASMXDS_BENCH_KEY"
	envRecording = "WASMXDS_BENCH_RECORDING" // of replay
)

// reference starts a server to compare with, in a process of its own. It is
// told of changes on its standard input.
func reference(name string, more ...string) startFunc {
	return func(ctx context.Context, r run, dir string) (*subject, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		env := append([]string{envServe + "=" + name, envClients + "=" + strconv.Itoa(r.Clients)}, more...)
		if r.TLS {
			env = append(env, envCert+"="+r.keys.cert, envKey+"="+r.keys.key)
		}
		p, err := start(ctx, filepath.Join(dir, name+".log"), env, self)
		if err != nil {
			return nil, err
		}
		address, err := p.out.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("%s did not start: %w (see %s)", name, err, p.log)
		}
		change := func(revision int, filters []int) error {
			words := []string{strconv.Itoa(revision)}
			for _, f := range filters {
				words = append(words, strconv.Itoa(f))
			}
			if _, err := fmt.Fprintln(p.in, strings.Join(words, " ")); err != nil {
				return fmt.Errorf("tell %s of a change: %w", name, err)
			}
			return nil
		}
		return &subject{name: name, address: strings.TrimSpace(address), process: p, change: change}, nil
	}
}

// setter makes a revision the newest of some filters.
type setter func(version int, r naive.Resources, changed []string) error

// serveReference is the other process: it serves until its standard input ends.
func serveReference(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	options, err := serverOptions()
	if err != nil {
		return err
	}
	clients, err := strconv.Atoi(os.Getenv(envClients))
	if err != nil {
		return fmt.Errorf("%s: %w", envClients, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	var set setter
	switch name {
	case "naive":
		s := naive.New(options...)
		g.Go(func() error { return s.Serve(ctx, l) })
		set = func(version int, r naive.Resources, _ []string) error {
			for n := range clients {
				if err := s.Set(ctx, fmt.Sprintf("edge-%05d", n), version, r); err != nil {
					return err
				}
			}
			return nil
		}
	case "floor":
		s := floor.New(options...)
		g.Go(func() error { return s.Serve(ctx, l) })
		set = s.Set
	case "replay":
		recording, err := replay.Read(os.Getenv(envRecording))
		if err != nil {
			return err
		}
		s, err := replay.New(recording)
		if err != nil {
			return err
		}
		g.Go(func() error { return s.Serve(ctx, l) })
		set = func(int, naive.Resources, []string) error { return nil }
	default:
		return fmt.Errorf("%s=%s: naive, floor or replay", envServe, name)
	}
	if err := obey(set, in, func() { fmt.Fprintln(out, l.Addr()) }); err != nil {
		return err
	}
	cancel()
	if err := g.Wait(); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

func serverOptions() ([]grpc.ServerOption, error) {
	cert := os.Getenv(envCert)
	if cert == "" {
		return nil, nil
	}
	creds, err := credentials.NewServerTLSFromFile(cert, os.Getenv(envKey))
	return []grpc.ServerOption{grpc.Creds(creds)}, err
}

// obey sets the first revision, and then what it is told to. A line is a
// revision and the numbers of the filters that change.
func obey(set setter, in io.Reader, ready func()) error {
	edge := naive.Edge{Listen: "127.0.0.1:8080", Upstream: "127.0.0.1:9000"}
	for i := range filters {
		edge.Filters = append(edge.Filters, naive.Filter{
			Name: filterName(i), URL: "http://127.0.0.1:1/filter.wasm", SHA256: strings.Repeat("0", 64), Config: config(i, 1)})
	}
	apply := func(revision int, changed []int) error {
		edge.Filters = slices.Clone(edge.Filters)
		for _, i := range changed {
			edge.Filters[i].Config = config(i, revision)
		}
		r, err := edge.Resources()
		if err != nil {
			return err
		}
		return set(revision, r, namesOf(changed))
	}
	if err := apply(1, nil); err != nil {
		return err
	}
	ready()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var numbers []int
		for word := range strings.FieldsSeq(lines.Text()) {
			n, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
		if err := apply(numbers[0], numbers[1:]); err != nil {
			return err
		}
	}
	return nil
}
