// Command bench compares xds-server with other ADS servers on the same work,
// done by the same fleet of Envoys (package fleet) in this process; wasmxds-h2 is
// xds-server with --transport h2, and both with -rollout behind it have a Rollout
// for their changes.
//
// The others are naive, a go-control-plane SnapshotCache with a snapshot per
// node, and floor, which sends the same bytes to all and keeps no state: what
// grpc-go costs by itself. Each server is a process of its own, so that its
// processor time and memory are told apart from the fleet's. Every Envoy has
// twenty filters of two kilobytes; see the scenes in scene.go.
//
// To compare two builds, run it with each in turn: -servers wasmxds -xds-server BUILD,
// with -groups 0 and -last one if changes of one filter are all that is asked for, or the
// last scene that the older build can play.
//
// It prints a table and writes bench.json and bench.svg.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	clients   []int
	servers   []string
	protocols []string
	tls       bool
	plain     bool
	out       string
	program   string
	profiles  bool
	node      int
	rounds    int
	groups    int
	last      string // scene
	mix       [3]int // percent of the Envoys: stalled, refusing, restless

	quiet    time.Duration // before and after what is measured
	pause    time.Duration // between rounds
	patience time.Duration // for a round
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if name := os.Getenv(envServe); name != "" {
		err = serveReference(ctx, name, os.Stdin, os.Stdout)
	} else {
		err = compare(ctx, os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var clients, servers, protocols string
	short := false
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&clients, "clients", "100,1000,10000", "`numbers` of Envoys")
	f.StringVar(&servers, "servers", "wasmxds,wasmxds-rollout,naive,floor,replay", "`names` of the servers to compare")
	f.StringVar(&protocols, "protocols", "delta,sotw", "ADS `protocols`")
	f.BoolVar(&o.plain, "plaintext", true, "measure plaintext")
	f.BoolVar(&o.tls, "tls", true, "measure TLS")
	f.StringVar(&o.out, "out", "bench/out", "`directory` for bench.json and bench.svg")
	f.StringVar(&o.program, "xds-server", "", "`program` to measure; default: built now")
	f.BoolVar(&o.profiles, "profiles", false, "write profiles of xds-server, too")
	f.IntVar(&o.node, "node", 30<<10, "`bytes` of an Envoy's node message")
	f.IntVar(&o.rounds, "rounds", 5, "changes of one filter in a run")
	f.IntVar(&o.groups, "groups", 500, "`number` of groups of nodes for a change that concerns one of them; 0: not measured")
	f.StringVar(&o.last, "last", sceneRoute, "last `scene` to play: "+strings.Join(sceneNames, ", "))
	f.IntVar(&o.mix[0], "stalled", 0, "`percent` of the Envoys that stop reading once they are ready")
	f.IntVar(&o.mix[1], "refusing", 0, "`percent` of the Envoys that refuse every change")
	f.IntVar(&o.mix[2], "restless", 0, "`percent` of the Envoys that connect again every second or two")
	f.DurationVar(&o.quiet, "quiet", time.Second, "rest before and after what is measured")
	f.DurationVar(&o.patience, "patience", time.Minute, "longest time that a change may take")
	f.BoolVar(&short, "short", false, "a short run with 20 Envoys, to see that it works")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if !slices.Contains(sceneNames, o.last) {
		return o, fmt.Errorf("-last %s: one of %s", o.last, strings.Join(sceneNames, ", "))
	}
	o.pause = 200 * time.Millisecond
	if short {
		o.groups = 10
		clients, o.rounds, o.quiet, o.pause, o.patience = "20", 1, 50*time.Millisecond, 0, 20*time.Second
	}
	for word := range strings.SplitSeq(clients, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-clients %s: numbers of Envoys, like 100,1000", clients)
		}
		o.clients = append(o.clients, n)
	}
	o.servers, o.protocols = strings.Split(servers, ","), strings.Split(protocols, ",")
	return o, nil
}

// compare does all runs and reports.
func compare(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wasmxds-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report, err := runAll(ctx, o, dir)
	if err != nil {
		return err
	}
	report.table(os.Stdout)
	return nil
}

func runAll(ctx context.Context, o options, dir string) (*Report, error) {
	starts := map[string]startFunc{"naive": reference("naive"), "floor": reference("floor")}
	if o.program == "" {
		var err error
		if o.program, err = buildServer(ctx, dir); err != nil {
			return nil, err
		}
	}
	starts["wasmxds"] = ours(o.program)
	starts["wasmxds-h2"] = ours(o.program, "--transport", "h2")
	starts["replay"] = replayed(o.program)
	starts["wasmxds"+rolledOut], starts["wasmxds-h2"+rolledOut] = starts["wasmxds"], starts["wasmxds-h2"]
	keys, err := newKeys(dir)
	if err != nil {
		return nil, err
	}
	report := newReport()
	for _, r := range o.runs(keys) {
		begin := starts[r.Server]
		if begin == nil {
			return nil, fmt.Errorf("-servers: %s is none of wasmxds, wasmxds-h2 (both also with -rollout behind it), naive, floor and replay", r.Server)
		}
		fmt.Fprintln(os.Stderr, "measuring", r)
		result, err := play(ctx, r, o, begin, filepath.Join(dir, strings.ReplaceAll(r.String(), " ", "-")))
		if err != nil {
			return nil, err
		}
		report.Results = append(report.Results, result)
		report.scale()
		if err := report.write(o.out); err != nil { // what there is, should a later one fail
			return nil, err
		}
	}
	if o.groups > 0 {
		fmt.Fprintln(os.Stderr, "measuring", o.groups, "groups")
		if report.Groups, err = groups(ctx, o, filepath.Join(dir, "groups")); err != nil {
			return nil, err
		}
	}
	return report, report.write(o.out)
}

// runs are all combinations, the same work for each server one after the other.
func (o options) runs(keys *keys) []run {
	var runs []run
	for _, secure := range []bool{false, true} {
		if secure && !o.tls || !secure && !o.plain {
			continue
		}
		for _, protocol := range o.protocols {
			for _, n := range o.clients {
				for _, server := range o.servers {
					if server == "replay" && secure {
						continue // its modules would come in plaintext
					}
					runs = append(runs, run{Server: server, Clients: n, Delta: protocol == "delta", TLS: secure, keys: keys})
				}
			}
		}
	}
	return runs
}
