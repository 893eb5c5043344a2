package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/admin"
	"wasmxds/printable"
)

const statusHelp = `Show what the Envoys of a running xds-server run, since when, and why they do not
run the desired version.

If that takes more than 20 rows, only rows that need attention are shown, worst
first, and the others are counted. --all shows everything; --filter, --state and
--label select rows.

With --wait, the command returns when every connected Envoy runs the definitions and
the definitions have had no errors for as long as xds-server takes to notice a file.
After --timeout it exits with code 1, or with code 3 if xds-server was never
reachable. A change that moves in waves must finish first, so choose --timeout
accordingly; if the change is stopped or rolled back, --wait exits at once with code 1
and the reason. --filter waits for a single filter; without it, listeners, routes and
clusters count as well. --version is the version to wait for: the first digits of the
filter's version or of its module's SHA-256, as printed by "sha256sum hello.wasm".

At least one Envoy must be connected, or --min-envoys of them; with --filter, this
many of the Envoys that should have the filter. Envoys can take half a minute to
reconnect after xds-server was restarted. --wait therefore waits for Envoys that
disconnected less than 2 minutes ago; --without-away ignores them, for Envoys that
were shut down. Status lists disconnected Envoys for an hour. Resources that an Envoy
does not ask for are not waited for.

If a filter could be added only by replacing its listener, existing connections
bypass it until Envoy has drained them; status says since when and until when at
most. --wait does not wait for this. --wait=drained does: it returns when every
connection of every Envoy has the desired filters. That takes up to 10 minutes, or
the --drain-time-s of the Envoys; see "xds-server bootstrap --help".`

const statusExample = `  xds-server status
  xds-server status --watch
  xds-server status --state failed --label tier=canary
  xds-server status -o json | jq -r '.nodes[] | select(.filters[].state | IN("running", "ready", "unasked") | not) | .id'

  # a deployment: copy the module, and continue when the whole fleet runs it
  cp hello.wasm definitions/
  xds-server status --wait --timeout 30s --filter hello --version $(sha256sum hello.wasm | cut -c1-12)

  # continue when no request can bypass the new filter, even on older connections
  xds-server status --wait=drained --filter hello`

// settle is for how long all must be in place: longer than it takes
// xds-server to notice a file that was written just before.
const settle = 500 * time.Millisecond

// drainedTimeout is --timeout for --wait=drained: an Envoy with its own drain
// time is done within it.
const drainedTimeout = 11 * time.Minute

type statusFlags struct {
	adminFlags
	output  string
	watch   bool
	wait    waitFor
	timeout time.Duration
	show    shown
	version string
	quorum  admin.Quorum
}

func newStatus() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show what every Envoy runs, and why not the desired version",
		Long:    statusHelp,
		Example: statusExample,
		Args:    positional(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.wait == untilDrained && !cmd.Flags().Changed("timeout") {
				f.timeout = drainedTimeout
			}
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	f.add(flags, "token `file` for the admin address")
	flags.StringVarP(&f.output, "output", "o", "table", "output `format`: table or json")
	flags.BoolVarP(&f.watch, "watch", "w", false, "keep showing it as it changes")
	flags.Var(&f.wait, "wait", "return when every Envoy runs the desired version; with --wait=drained, when older connections do, too")
	flags.Lookup("wait").NoOptDefVal = string(untilRunning)
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "give up waiting after this `time`; the default for --wait=drained is 11m")
	flags.StringVar(&f.show.filter, "filter", "", "show, or wait for, only the filter with this `name`")
	flags.StringSliceVar(&f.show.states, "state", nil, "show only filters in these `states`, comma-separated: "+strings.Join(severity, ", "))
	flags.StringToStringVar(&f.show.labels, "label", nil, "show only Envoys with this label, as `KEY=VALUE`; comma-separated or repeatable")
	flags.BoolVar(&f.show.all, "all", false, fmt.Sprintf("show every Envoy and filter, even if there are more than %d rows", maxRows))
	flags.StringVar(&f.version, "version", "", "wait for this `version` of the filter, or this SHA-256 of its module or script; the first digits are enough")
	flags.IntVar(&f.quorum.Min, "min-envoys", 1, "wait until at least this `number` of Envoys are connected")
	flags.BoolVar(&f.quorum.WithoutAway, "without-away", false, "do not wait for Envoys that have disconnected")
	completeValues(cmd, "output", "table", "json")
	completeValues(cmd, "wait", string(untilRunning), string(untilDrained))
	completeValues(cmd, "state", severity...)
	f.completeFilters(cmd)
	return cmd
}

// completeFilters makes shells offer the filters that the server knows.
func (f *statusFlags) completeFilters(cmd *cobra.Command) {
	err := cmd.RegisterFlagCompletionFunc("filter", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		client, err := f.client(time.Second)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		st, err := client.Page(cmd.Context(), "", 1)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, filter := range st.Filters {
			if !printable.Is(filter.Name) {
				continue
			}
			names = append(names, cobra.CompletionWithDesc(filter.Name, fmt.Sprintf("%d of %s", filter.Running, plural(filter.Nodes, "Envoy"))))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag is misspelt in this program
	}
}

func (f *statusFlags) run(ctx context.Context, out io.Writer) error {
	if f.output != "table" && f.output != "json" {
		return misused(fmt.Errorf("--output %s: must be table or json", f.output))
	}
	if f.watch && f.wait != "" {
		return misused(errors.New("--watch and --wait can't be used together: --watch never ends, --wait ends when all is in place"))
	}
	if f.version != "" && f.show.filter == "" {
		return misused(errors.New("--version requires --filter: each filter has its own versions"))
	}
	if err := f.show.check(); err != nil {
		return err
	}
	if f.output == "json" && f.show.narrows() {
		return misused(errors.New("--state and --label apply to the table only; filter the output of -o json with jq"))
	}
	client, err := f.client(10 * time.Second)
	if err != nil {
		return err
	}
	switch {
	case f.wait != "":
		if err := f.await(ctx, client); err != nil {
			return err
		}
	case f.watch:
		return follow(ctx, out, f.output == "table", func(w io.Writer) (bool, error) {
			st, err := client.Status(ctx)
			if err != nil {
				return false, err
			}
			return false, f.print(w, st)
		})
	}
	st, err := client.Status(ctx)
	if err != nil {
		return unreachable(withHint(err, askHint(err)))
	}
	return f.print(out, st)
}

func (f *statusFlags) print(out io.Writer, st *admin.Status) error {
	if f.output == "json" {
		return printJSON(out, st)
	}
	return printTable(out, st, f.show, time.Now())
}

// await returns when what is waited for has been in place for settle.
func (f *statusFlags) await(ctx context.Context, client *admin.Client) error {
	waiting, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	var since time.Time // when it was first seen in place
	var last *admin.Status
	var lastErr error
	var stop stopWatch
	for {
		st, err := client.Page(waiting, "", 1)
		switch {
		case err == nil:
			last, lastErr = st, nil
			if r := stop.look(st.Stopped(f.show.filter), time.Now()); r != nil {
				return wrong(stopped(r))
			}
			switch {
			case !f.inPlace(st):
				since = time.Time{}
			case since.IsZero():
				since = time.Now()
			case time.Since(since) >= settle:
				return nil
			}
		case waiting.Err() == nil:
			lastErr, since = err, time.Time{}
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return wrong(errInterrupted)
			}
			return f.gaveUp(ctx, client, last, lastErr)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// inPlace says whether a status has what is waited for.
func (f *statusFlags) inPlace(st *admin.Status) bool {
	return st.Done(f.show.filter, f.version, f.quorum) && (f.wait != untilDrained || st.Drained(f.show.filter))
}

// lastAnswer is how long an answer may take that only says why the wait was in vain.
const lastAnswer = 3 * time.Second

// gaveUp says why what was waited for is not in place, by the last status that came in
// time, or else by one that comes late.
func (f *statusFlags) gaveUp(ctx context.Context, client *admin.Client, last *admin.Status, err error) error {
	ctx, cancel := context.WithTimeout(ctx, lastAnswer)
	defer cancel()
	if err == nil && last == nil {
		if last, err = client.Page(ctx, "", 1); ctx.Err() != nil {
			err = fmt.Errorf("%s does not answer", client.URL)
		}
	}
	if err != nil {
		return unreachable(withHint(fmt.Errorf("no status within %v: %w", f.timeout, err), askHint(err)))
	}
	undrained := f.wait == untilDrained && !last.Drained(f.show.filter)
	if undrained || last.Envoys.Awaited > 0 && !f.quorum.WithoutAway { // which they are is in the whole status alone
		if whole, err := client.Status(ctx); err == nil {
			last = whole
		}
	}
	if f.inPlace(last) {
		return wrong(withHint(fmt.Errorf("not all in place within %v: all is in place now, but was not for %v yet", f.timeout, settle), "set a longer --timeout"))
	}
	var why bytes.Buffer
	printMissing(&why, last, f.show.filter, f.version, f.quorum)
	if undrained {
		printDraining(&why, last, f.show.filter, time.Now())
	}
	return wrong(fmt.Errorf("not all in place within %v:\n%s", f.timeout, bytes.TrimRight(why.Bytes(), "\n")))
}
