// Soak keeps xds-server under changes and faults for as long as it is told: a
// few real Envoys that serve requests, hundreds of played ones, definitions
// that change at random, good and bad, and kills, cuts and delays of everything.
//
// No request to a real Envoy may fail, pass without a filter of its route, or through one
// that is off there, and no connection be dropped or pass without its network filter. Every so
// often all is mended: then every Envoy must come to run what is wanted, soon.
// In the second half xds-server is no longer killed: at its end it must have
// about as many goroutines, files and bytes as when it had run for a while.
//
//	go run ./e2e/soak -duration 10m
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"wasmxds/e2e/harness"
)

type options struct {
	duration time.Duration
	envoys   int
	played   int
	seed     uint64
}

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long")
	flag.IntVar(&o.envoys, "envoys", 3, "real Envoys")
	flag.IntVar(&o.played, "played", 300, "played Envoys")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of what happens when")
	verbose := flag.Bool("v", false, "log each change and fault")
	flag.Parse()
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, logger); err != nil {
		logger.Error("the soak failed", "error", err)
		os.Exit(1)
	}
}

// run leaves its files behind where something went wrong.
func run(ctx context.Context, o options, log *slog.Logger) error {
	dir, err := os.MkdirTemp("", "wasmxds-soak-")
	if err != nil {
		return err
	}
	log.Info("soak", "duration", o.duration, "envoys", o.envoys, "played", o.played, "seed", o.seed, "files", dir)
	if err := soak(ctx, o, log, dir); err != nil {
		return fmt.Errorf("%w\nits files are in %s", err, dir)
	}
	return os.RemoveAll(dir)
}

const (
	calm  = 15 * time.Second // between two times at which all is mended
	pause = 400 * time.Millisecond
)

func soak(ctx context.Context, o options, log *slog.Logger, dir string) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := newStage(ctx, o, log, dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.dump(context.WithoutCancel(ctx)))
		}
		err = errors.Join(err, s.close())
	}()
	if err := s.rest(ctx); err != nil {
		return fmt.Errorf("at the start: %w", err)
	}
	lasting := append(changes(), cuts()...)
	var before, after figures
	for _, part := range []struct {
		name   string
		time   time.Duration
		faults []fault
	}{
		{"with kills", o.duration / 2, append(kills(), lasting...)},
		{"warming up", o.duration / 10, lasting},
		{"without kills", o.duration * 4 / 10, lasting},
	} {
		if err := s.during(ctx, part.time, part.faults); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		before = after
		if after, err = s.figures(ctx, part.name); err != nil {
			return err
		}
		log.Info("has run "+part.name, "server", after)
	}
	return after.flat(before)
}

// dump has the status, and what the Envoys have, beside the soak's files.
func (s *stage) dump(ctx context.Context) error {
	status, err := s.server.Get(ctx, "/api/v1/status?limit=1000")
	errs := []error{err, os.WriteFile(filepath.Join(s.dir, "status.json"), status, 0o644)}
	for _, e := range s.envoys {
		config, err := e.Get(ctx, "/config_dump")
		errs = append(errs, err, os.WriteFile(filepath.Join(s.dir, e.id, "config_dump.json"), config, 0o644))
	}
	return errors.Join(errs...)
}

// during lets things happen for so long, with a rest now and then and at the
// end.
func (s *stage) during(ctx context.Context, d time.Duration, faults []fault) error {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		round := time.Now().Add(min(calm, time.Until(end)))
		for time.Now().Before(round) {
			f := faults[s.random.IntN(len(faults))]
			s.log.Debug(f.name)
			s.happened[f.name]++
			if err := f.strike(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			if err := wait(ctx, time.Duration(s.random.Int64N(int64(pause)))); err != nil {
				return err
			}
		}
		if err := s.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// counted gives the sum of what the loads saw.
func (s *stage) counted() harness.Counts {
	var sum harness.Counts
	for _, e := range s.envoys {
		for _, l := range e.loads {
			c := l.Counts()
			sum.Requests += c.Requests
			sum.Refused += c.Refused
			sum.Failed += c.Failed
			sum.Unfiltered += c.Unfiltered
			sum.Unwanted += c.Unwanted
			sum.Errors = append(sum.Errors, c.Errors...)
		}
	}
	return sum
}

// connected gives the sum of what the connections saw.
func (s *stage) connected() harness.TCPCounts {
	var sum harness.TCPCounts
	for _, e := range s.envoys {
		sum = sum.Plus(e.ended)
		if e.connections != nil {
			sum = sum.Plus(e.connections.Counts())
		}
	}
	return sum
}
