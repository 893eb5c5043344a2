// Command filter measures what a filter that sets one request header costs in
// a real Envoy: none at all, the one in Rust (examples/rust), the one in Go
// (filter/header), and the same in Lua; and what slots cost that are there for
// filters to come, and hold one that does nothing ("spares-4" has four), and access loggers
// that have nothing to tell ("signals"). Filters
// come from xds-server, as they do for anyone; requests are answered by the
// listener itself, so that what differs is the filter.
//
// Envoy has one worker. Each case is measured by itself: requests a second and
// latency of 16 connections that always have a request under way, latency of a
// single one, Envoy's processor time a request, its memory, and the time from
// its start to the first answer that bears the header. The cases take turns, in
// as many rounds as asked for, each on an Envoy of its own.
//
// It prints a table of medians, with what a request costs more than in the first
// case of the same round, and writes each result to filter.json. Below it are the filters
// with a module in the order of the instructions that xds-server try counts, and in that
// of Envoy's processor time; it fails where these contradict each other. A case whose module isn't built is
// an error: `make filters`, examples/rust/build.sh.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wasmxds/e2e/harness"
)

// Result is a case with its figures. Times are microseconds.
type Result struct {
	Case     string  `json:"case"`
	Round    int     `json:"round"`
	Envoy    string  `json:"envoy"`
	Rate     float64 `json:"rate"` // requests a second
	P50      float64 `json:"p50"`  // at that rate
	P99      float64 `json:"p99"`
	Lone50   float64 `json:"lone50"` // with one request at a time
	Lone99   float64 `json:"lone99"`
	CPU      float64 `json:"cpu"`     // Envoy's, a request
	Memory   int64   `json:"memory"`  // resident bytes, after the load
	Startup  float64 `json:"startup"` // to the first answer
	Requests int     `json:"requests"`
}

// connections of the load.
const connections = 16

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-filter:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench-filter", flag.ContinueOnError)
	out := f.String("out", "bench/out", "`directory` for filter.json")
	modules := f.String("modules", "bin/filters", "`directory` with header.wasm and rust-header.wasm")
	length := f.Duration("time", 8*time.Second, "`time` of each load")
	only := f.String("cases", "none,signals,spares-4,spares-16,rust,rust-correlation,go,go-correlation,go-metrics,lua", "`names` of the cases; the others are compared with the first")
	rounds := f.Int("rounds", 3, "`number` of times that each case is measured")
	if err := f.Parse(args); err != nil {
		return err
	}
	root, err := harness.Root()
	if err != nil {
		return err
	}
	envoys, err := harness.Envoys(ctx, root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wasmxds-filter-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := harness.BuildServer(ctx, root, dir)
	if err != nil {
		return err
	}
	var cases []testCase
	for _, name := range strings.Split(*only, ",") {
		c, err := caseOf(name, *modules)
		if err != nil {
			return err
		}
		cases = append(cases, c)
	}
	var results []Result
	for round := range *rounds {
		for _, c := range cases {
			fmt.Fprintln(os.Stderr, "measuring", c.name, "round", round+1)
			r, err := measure(ctx, c, program, *modules, envoys[len(envoys)-1], filepath.Join(dir, fmt.Sprint(c.name, round)), *length)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			r.Round = round + 1
			results = append(results, r)
		}
	}
	table(os.Stdout, cases, results)
	contradicted := compared(ctx, os.Stdout, program, dir, cases, results)
	b, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	return errors.Join(contradicted, os.WriteFile(filepath.Join(*out, "filter.json"), append(b, '\n'), 0o644))
}

// measure starts a server and an Envoy for one case, and puts load on it.
func measure(ctx context.Context, c testCase, program, modules string, binary harness.Binary, dir string, length time.Duration) (Result, error) {
	r := Result{Case: c.name, Envoy: binary.Version}
	definitions := filepath.Join(dir, "definitions")
	if err := c.write(definitions); err != nil {
		return r, err
	}
	server, err := harness.StartServer(ctx, harness.ServerConfig{
		Program: program, Dir: dir, Definitions: definitions, Data: filepath.Join(dir, "data"),
		Args: append([]string{"--module-root", modules}, c.args...)})
	if err != nil {
		return r, err
	}
	defer func() { _ = server.Stop() }() // the figures are there by then
	err = harness.Poll(ctx, time.Minute, func() error {
		status, err := server.Status(ctx)
		if err == nil && status.Definitions.Loaded != len(c.files) {
			err = fmt.Errorf("%d of %d definitions loaded", status.Definitions.Loaded, len(c.files))
		}
		return err
	})
	if err != nil {
		return r, err
	}
	bootstrap, err := server.Bootstrap(ctx, "bench")
	if err != nil {
		return r, err
	}
	envoy, err := harness.StartEnvoy(ctx, harness.EnvoyConfig{Binary: binary, Dir: filepath.Join(dir, "envoy"), Bootstrap: bootstrap})
	if err != nil {
		return r, err
	}
	defer envoy.Kill()
	var address string
	err = harness.Poll(ctx, time.Minute, func() (err error) {
		if address, err = envoy.Listener(ctx, "web"); err == nil {
			err = c.answers(ctx, address)
		}
		return err
	})
	if err != nil {
		return r, fmt.Errorf("no good answer: %w", err)
	}
	r.Startup = micros(time.Since(envoy.Started))
	return r, c.load(ctx, envoy, address, length, &r)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// load warms Envoy up and then measures.
func (c testCase) load(ctx context.Context, envoy *harness.Envoy, address string, length time.Duration, r *Result) error {
	if _, err := load(ctx, address, connections, length/4); err != nil {
		return err
	}
	before, err := processorTime(envoy.PID())
	if err != nil {
		return err
	}
	began := time.Now()
	times, err := load(ctx, address, connections, length)
	if err != nil {
		return err
	}
	took := time.Since(began)
	after, err := processorTime(envoy.PID())
	if err != nil {
		return err
	}
	r.Requests = len(times)
	r.Rate = float64(len(times)) / took.Seconds()
	r.CPU = micros(after-before) / float64(len(times))
	r.P50, r.P99 = micros(harness.Quantile(times, 0.5)), micros(harness.Quantile(times, 0.99))
	if times, err = load(ctx, address, 1, length/2); err != nil {
		return err
	}
	r.Lone50, r.Lone99 = micros(harness.Quantile(times, 0.5)), micros(harness.Quantile(times, 0.99))
	if r.Memory, err = envoy.Memory(); err != nil {
		return err
	}
	return c.answers(ctx, address) // still
}
