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

const rolloutHelp = `See how far changes have gone, and say what becomes of them.

A change is all that one look at the directory found different. Where a policy
(kind: Rollout) matches, it goes from wave to wave as long as it proves itself,
and is stopped when it does not; without a policy it goes everywhere at once.
"xds-server rollout" lists those that are on their way, what can be gone back to,
and a removal that is held back as it looks like an accident.

  waiting     no Envoy has it yet; it says for what it waits
  rolling     it goes from wave to wave
  paused      who has it keeps it, and no more get it
  stopped     nobody has it, though the directory says it
  done        everybody has it
  superseded  the directory says something else by now

ID is what the list shows, or the first digits of it. It may be left out where
only one change can be meant.

Reading needs what "xds-server status" needs. To change something, show the token
of operators with --admin-token-file (the one in serve's --operate-token-file), or
an operator's certificate with --admin-cert.

With --watch, list goes on; all else goes on until the change has come to an end.
Then the exit code is 0 where that is what was asked for (done; for stop:
stopped), and 1 where it is not. Otherwise it is 1 where the change is not in the
state for a command, and 3 where xds-server can't be reached or does not allow it.`

const rolloutExample = `  xds-server rollout
  xds-server rollout show --watch           # the only change, until it is done or stopped
  xds-server rollout list -o json | jq -r '.changes[] | select(.state == "stopped") | .reason'

  # an urgent fix, past its waves
  xds-server rollout promote 5c0ffee1 --admin-token-file operate.token

  # undo what joined last, though the directory still says it
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
		Use: "list", Short: "List changes that are on their way, and what can be gone back to", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.list(cmd.Context(), cmd.OutOrStdout()) },
	}
	root := &cobra.Command{
		Use: "rollout", Short: "See how far changes have gone, and say what becomes of them",
		Long: rolloutHelp, Example: rolloutExample, Args: cobra.NoArgs, RunE: list.RunE,
	}
	flags := root.PersistentFlags()
	f.add(flags, "`file` with the token to show there; to change something, that of operators")
	flags.StringVarP(&f.output, "output", "o", "table", "output `format`: table, json or yaml")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on showing it, whenever it changes")
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
	{rollout.Pause, "paused", "Let no more Envoys have a change", `Who has the change keeps it, and no more get it, until "xds-server rollout resume".`,
		`  xds-server rollout pause 5c0ffee1 --admin-token-file operate.token`},
	{rollout.Resume, "resumed", "Let a change go on", `What is paused goes on with its wave. What was stopped begins again with its first
wave: say so when what stopped it was not its fault. Of a change that was rolled
back, the rollback ends: what the directory says is followed again.`,
		`  xds-server rollout resume --admin-token-file operate.token --watch`},
	{rollout.Promote, "promoted", "Have a change go everywhere now", `The change goes everywhere, past its waves and whatever judges say: for an urgent fix.

Without a change that is on its way, it is said of the removal that is held back:
"held back: 5 of 6 definitions would be removed at once" in "xds-server status"
means that so many files are gone that they may not be meant to. To promote it
removes them from the Envoys.`,
		`  xds-server rollout promote 5c0ffee1 --admin-token-file operate.token

  # the directory was emptied, and that is meant
  xds-server rollout promote --admin-token-file operate.token`},
	{rollout.Stop, "stopped", "Take a change back from the Envoys that have it", `Who has the change gets what was before. What the directory says of it is not followed
until it says something new, or "xds-server rollout resume".`,
		`  xds-server rollout stop 5c0ffee1 --admin-token-file operate.token`},
	{rollout.Rollback, "rolled back", "Undo a change that is done", `What was before the change is in force again, though the directory says otherwise:
status says so until the directory agrees, or says something new. That is a change
of its own, which goes in the waves of its policy, or with --at-once everywhere
now. Without ID it is the change that joined last that is undone. With --to it is
all that joined after a base: one of those that the list has, of the last 20.`,
		`  xds-server rollout rollback --admin-token-file operate.token --watch

  # all that joined after a base, now
  xds-server rollout list
  xds-server rollout rollback --to ba5e0000 --at-once --admin-token-file operate.token`},
}

func (f *rolloutFlags) show() *cobra.Command {
	return &cobra.Command{
		Use: "show [ID]", Short: "Show a change: what it is, its waves, and what is said of it", Args: cobra.MaximumNArgs(1),
		Long: `Show a change as a diff, how far it is in its waves, which Envoys are compared, what
they tell and what judges say. With --watch until it has come to an end: exit code
0 when it is done, 1 when it was stopped or superseded.`,
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
		Use: string(c.verb) + " [ID]", Short: c.short, Long: c.long, Example: c.examples, Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: f.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.tell(cmd.Context(), cmd.OutOrStdout(), c, given(args))
		},
	}
	if c.verb == rollout.Rollback {
		cmd.Flags().StringVar(&f.back.To, "to", "", "`base` to go back to, or the first digits of it")
		cmd.Flags().BoolVar(&f.back.AtOnce, "at-once", false, "everywhere now, not in waves")
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
		return nil, misused(fmt.Errorf("--output %s: table, json or yaml", f.output))
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

// about shows a change; with --watch until it has come to an end, which is an
// error where it is not the one that is wanted.
func (f *rolloutFlags) about(ctx context.Context, out io.Writer, id string, verb rollout.Verb, want rollout.State) error {
	client, err := f.open()
	if err != nil {
		return err
	}
	var last *rollout.ChangeStatus
	show := func(w io.Writer) (bool, error) {
		all, err := client.Rollouts(ctx)
		if err != nil {
			return false, err
		}
		if id == "" {
			if id, err = meant(all, verb); err != nil {
				return false, wrong(err)
			}
		}
		c, err := all.Find(id)
		if err != nil {
			return false, wrong(err)
		}
		id, last = c.ID, c // the same also when another begins so
		if f.output == "table" {
			err = printChange(w, c, time.Now())
		} else {
			err = printAs(w, f.output, c)
		}
		return ended(c.State), err
	}
	if !f.watch {
		_, err := show(out)
		return asked(err)
	}
	if err := follow(ctx, out, f.output == "table", show); err != nil {
		return err
	}
	if last != nil && ended(last.State) && last.State != want {
		return wrong(fmt.Errorf("%s is %s: %s", printable.Text(last.Title), last.State, printable.Text(last.Words)))
	}
	return nil
}

// ended says whether a change goes no further by itself.
func ended(s rollout.State) bool {
	return s == rollout.Done || s == rollout.Stopped || s == rollout.Superseded
}

// meant is the only change that a command without an id can be about.
func meant(all *admin.Rollouts, verb rollout.Verb) (string, error) {
	if verb == rollout.Rollback {
		if len(all.Bases) == 0 {
			return "", fmt.Errorf("there is nothing to roll back: no change has joined since what was there first")
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
		return "", fmt.Errorf("say which change is meant, by its id:\n%s", strings.Join(told, "\n"))
	case verb == "" && len(all.Changes) > 0:
		return all.Changes[0].ID, nil // none is on its way: the one that ended last
	case verb == "":
		return "", fmt.Errorf("there is no change: none has come since xds-server keeps them")
	}
	return "", fmt.Errorf("there is no change to %s: xds-server rollout lists those that there are", verb)
}

// fits says whether a change in a state may be meant; the verb "" is to show it.
func fits(s rollout.State, verb rollout.Verb) bool {
	if verb == "" {
		return s.Open()
	}
	return admin.Fits(verb, s)
}
