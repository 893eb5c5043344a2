package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/admin"
	"wasmxds/printable"
	"wasmxds/rollout"
)

const rolloutHelp = `Show and control how changes reach the fleet.

A change is everything that xds-server found different when it last read the
definitions. If a policy (kind: Rollout) matches, the change moves from wave to wave
while it proves itself, and is stopped when it does not. Without a policy it reaches
all Envoys at once. "xds-server rollout" lists changes in progress, the versions that
you can roll back to, and a removal that is held back because it looks accidental.

  waiting     no Envoy has it yet; the list says what it is waiting for
  rolling     it is moving from wave to wave
  paused      Envoys that have it keep it, and no more get it
  stopped     no Envoy has it, although the definitions contain it
  done        all Envoys have it
  superseded  the definitions have changed again

ID is an ID from the list, or its first digits. You can omit it if only one change is
possible.

Reading needs the same access as "xds-server status". To change something, pass the
token of operators (serve's --operate-token-file) as --admin-token-file, or an
operator's certificate as --admin-cert.

With --watch, the list is updated continuously; all other commands wait until the
change has ended. The exit code is then 0 if the change ended as requested (done, or
for stop: stopped) and otherwise 1. Without --watch, 1 means that the command does
not apply to the change's state, and 3 that xds-server is unreachable or denies it.`

const rolloutExample = `  xds-server rollout
  xds-server rollout show --watch           # the only change, until it ends
  xds-server rollout list -o json | jq -r '.changes[] | select(.state == "stopped") | .reason'

  # an urgent fix: skip the waves
  xds-server rollout promote 5c0ffee1 --admin-token-file operate.token

  # undo the most recent change, although the definitions still contain it
  xds-server rollout rollback --at-once --admin-token-file operate.token`

// rolloutFlags are those of all its commands.
type rolloutFlags struct {
	adminFlags
	output string
	watch  bool
	back   admin.CommandOptions
}

func newRollout() *cobra.Command {
	var f rolloutFlags
	list := &cobra.Command{
		Use: "list", Short: "List changes in progress and the versions to roll back to", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.list(cmd.Context(), cmd.OutOrStdout()) },
	}
	root := &cobra.Command{
		Use: "rollout", Short: "Show and control how changes reach the fleet",
		Long: rolloutHelp, Example: rolloutExample, Args: cobra.NoArgs, RunE: list.RunE,
	}
	flags := root.PersistentFlags()
	f.add(flags, "token `file` for the admin address; commands that change something need the token of operators")
	flags.StringVarP(&f.output, "output", "o", "table", "output `format`: table, json or yaml")
	flags.BoolVarP(&f.watch, "watch", "w", false, "keep showing it as it changes")
	completeValues(root, "output", "table", "json", "yaml")
	root.AddCommand(list, f.show())
	for _, c := range rolloutCommands {
		root.AddCommand(f.command(c))
	}
	return root
}

// rolloutCommand is one that changes something.
type rolloutCommand struct {
	verb                  rollout.Verb
	done                  string // as a word
	short, long, examples string
}

var rolloutCommands = []rolloutCommand{
	{rollout.Pause, "paused", "Keep a change from reaching more Envoys", `Envoys that have the change keep it, and no more get it, until "xds-server rollout
resume".`,
		`  xds-server rollout pause 5c0ffee1 --admin-token-file operate.token`},
	{rollout.Resume, "resumed", "Continue a change", `A paused change continues with its wave. A stopped change starts again with its first
wave, by its policy as it is now: resume it if it was stopped for a reason that was not
its fault. Resuming a change that was rolled back ends the rollback, and the definitions
apply again.`,
		`  xds-server rollout resume --admin-token-file operate.token --watch`},
	{rollout.Promote, "promoted", "Apply a change to all Envoys now", `The change reaches all Envoys at once, whatever its waves and checks say. Use it for
an urgent fix.

If no change is in progress, promote applies to a removal that is held back. "held
back: 5 of 6 definitions would be removed at once" in "xds-server status" means that
so many files disappeared that it may be an accident. Promoting the removal removes
them from the Envoys.`,
		`  xds-server rollout promote 5c0ffee1 --admin-token-file operate.token

  # the directory was emptied on purpose
  xds-server rollout promote --admin-token-file operate.token`},
	{rollout.Stop, "stopped", "Undo a change that is in progress", `Envoys that have the change get the previous version back. The changed definitions are
ignored until they change again, or until "xds-server rollout resume".`,
		`  xds-server rollout stop 5c0ffee1 --admin-token-file operate.token`},
	{rollout.Rollback, "rolled back", "Undo a change that is done", `The version before the change applies again, although the definitions say otherwise.
Status reports this until the definitions agree or change again. A rollback is itself
a change, which moves in the waves of its policy, or with --at-once reaches all
Envoys now. Without ID, the most recent change is undone. With --to, everything after
a base is undone: one of the last 20, which the list shows.`,
		`  xds-server rollout rollback --admin-token-file operate.token --watch

  # undo everything after a base, on all Envoys now
  xds-server rollout list
  xds-server rollout rollback --to ba5e0000 --at-once --admin-token-file operate.token`},
}

func (f *rolloutFlags) show() *cobra.Command {
	return &cobra.Command{
		Use: "show [ID]", Short: "Show a change: its diff, its waves and what has been observed", Args: positional(0, 1),
		Long: `Show the diff of a change, its progress through the waves, the Envoys that are
compared, what they report, and the answers of servers that are asked. With --watch,
keep showing it until it ends: exit code 0 if it is done, 1 if it was stopped or
superseded.

Without ID, it is the change in progress, or else the one that ended last. --watch
first waits for a change whose module is still fetched or tried, so you can run it
right after you have written a file. If there is none because definitions have errors,
the exit code is 1.`,
		Example: `  xds-server rollout show 5c0ffee1
  xds-server rollout show --watch && echo done`,
		ValidArgsFunction: f.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.about(cmd.Context(), cmd.OutOrStdout(), given(args), "", rollout.Done)
		},
	}
}

func (f *rolloutFlags) command(c rolloutCommand) *cobra.Command {
	cmd := &cobra.Command{
		Use: string(c.verb) + " [ID]", Short: c.short, Long: c.long, Example: c.examples, Args: positional(0, 1),
		ValidArgsFunction: f.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.tell(cmd.Context(), cmd.OutOrStdout(), c, given(args))
		},
	}
	if c.verb == rollout.Rollback {
		cmd.Flags().StringVar(&f.back.To, "to", "", "`base` to roll back to; the first digits of its ID are enough")
		cmd.Flags().BoolVar(&f.back.AtOnce, "at-once", false, "roll back on all Envoys at once instead of in waves")
	}
	return cmd
}

func given(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// completeIDs makes shells offer the changes that the server knows.
func (f *rolloutFlags) completeIDs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	client, err := f.client(time.Second)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := client.Rollouts(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, c := range all.Changes {
		if printable.Is(c.ID) {
			ids = append(ids, cobra.CompletionWithDesc(admin.ShortID(c.ID), printable.Text(fmt.Sprintf("%s, %s", c.Title, c.State))))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// open makes the client.
func (f *rolloutFlags) open() (*admin.Client, error) {
	if f.output != "table" && f.output != "json" && f.output != "yaml" {
		return nil, misused(fmt.Errorf("--output %s: must be table, json or yaml", f.output))
	}
	return f.client(20 * time.Second)
}

func (f *rolloutFlags) list(ctx context.Context, out io.Writer) error {
	client, err := f.open()
	if err != nil {
		return err
	}
	show := func(w io.Writer) (bool, error) {
		all, err := client.Rollouts(ctx)
		if err != nil {
			return false, err
		}
		if f.output == "table" {
			return false, printRollouts(w, all, time.Now())
		}
		return false, printAs(w, f.output, all)
	}
	if f.watch {
		return follow(ctx, out, f.output == "table", show)
	}
	_, err = show(out)
	return asked(err)
}

// tell does a command, and says what has come of it.
func (f *rolloutFlags) tell(ctx context.Context, out io.Writer, c rolloutCommand, id string) error {
	client, err := f.open()
	if err != nil {
		return err
	}
	if id == "" {
		all, err := client.Rollouts(ctx)
		if err != nil {
			return asked(err)
		}
		if id, err = meant(all, c.verb); err != nil {
			return wrong(err)
		}
	}
	o, err := client.Command(ctx, c.verb, id, f.back)
	if err != nil {
		return asked(err)
	}
	if f.watch && o.Change != nil {
		want := rollout.Done // of a rollback: the change that undoes
		if c.verb == rollout.Stop {
			want = rollout.Stopped
		}
		return f.about(ctx, out, o.Change.ID, c.verb, want)
	}
	switch {
	case f.output != "table":
		return printAs(out, f.output, o)
	case o.Removal != nil:
		fmt.Fprintf(out, "released: %s of %d are removed\n", plural(o.Removal.Definitions, "definition"), o.Removal.Of)
	case o.Change != nil:
		fmt.Fprintf(out, "%s %s (%s): %s\n", c.done, printable.Text(o.Change.Title), cell(admin.ShortID(o.Change.ID)), printable.Text(o.Change.Words))
	}
	return nil
}

// meant is the only change that a command without an id can be about.
func meant(all *admin.Rollouts, verb rollout.Verb) (string, error) {
	if verb == rollout.Rollback {
		if len(all.Bases) == 0 {
			return "", fmt.Errorf("there is nothing to roll back: no change has been completed since the first start")
		}
		return all.Bases[0].ID, nil
	}
	var ids, told []string
	seen := map[string]bool{}
	for _, c := range all.Changes {
		if fits(c.State, verb) && !seen[c.ID] {
			seen[c.ID] = true
			ids, told = append(ids, c.ID), append(told, fmt.Sprintf("  %s  %s, %s", cell(admin.ShortID(c.ID)), printable.Text(c.Title), cell(string(c.State))))
		}
	}
	for _, h := range all.Held {
		if verb == rollout.Resume && !seen[h.By] {
			seen[h.By] = true
			ids, told = append(ids, h.By), append(told, fmt.Sprintf("  %s  rolled back, as of %s %s", cell(admin.ShortID(h.By)), cell(h.Kind), cell(h.Name)))
		}
	}
	if r := all.Removal; r != nil && verb == rollout.Promote {
		ids, told = append(ids, r.ID), append(told, fmt.Sprintf("  %s  the removal of %d of %d definitions, held back", cell(r.ID), r.Definitions, r.Of))
	}
	switch {
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		return "", fmt.Errorf("several changes match; give the id of one of them:\n%s", strings.Join(told, "\n"))
	case verb == "" && len(all.Changes) > 0:
		return all.Changes[0].ID, nil // none is on its way: the one that ended last
	case verb == "":
		return "", fmt.Errorf("there is no change yet")
	}
	return "", fmt.Errorf("there is no change to %s; xds-server rollout lists all changes", verb)
}

// fits says whether a change in a state may be meant; the verb "" is to show it.
func fits(s rollout.State, verb rollout.Verb) bool {
	if verb == "" {
		return s.Open()
	}
	return admin.Fits(verb, s)
}
