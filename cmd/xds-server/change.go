package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/source/etcd/apply"
)

// changeFlags are those of the commands that change documents in etcd.
type changeFlags struct {
	documentFlags
	dryRun bool
	also   string // directory that is served beside etcd; "": none
}

func (f *changeFlags) add(cmd *cobra.Command, labels string) {
	f.documentFlags.add(cmd, labels)
	flags := cmd.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, "validate and print what would change, but write nothing")
	flags.StringVar(&f.also, "definitions", "", "`directory` that is served together with etcd; its definitions are included in the check")
	completeDir(cmd, "definitions")
}

// tries is how often a change is checked and written, where others change
// something all the while.
const tries = 10

// change does what is asked for, unless something is wrong with it.
func (f *changeFlags) change(ctx context.Context, change apply.Change, out, errs io.Writer) error {
	return f.open(ctx, func(ctx context.Context, s *apply.Store) error {
		others, err := readAlso(f.also)
		if err != nil {
			return wrong(err)
		}
		for range tries {
			if err := f.try(ctx, s, change, others, out, errs); !errors.Is(err, apply.ErrConflict) {
				return err
			}
		}
		return unreachable(fmt.Errorf("nothing was changed: others changed documents at the same time, %d times in a row; try again", tries))
	})
}

// try checks a change with what there is now, and with others beside it, and does it.
func (f *changeFlags) try(ctx context.Context, s *apply.Store, change apply.Change, others []*definition.File, out, errs io.Writer) error {
	contents, err := f.read(ctx, s)
	if err != nil {
		return err
	}
	plan, err := contents.Plan(change)
	if err != nil {
		return wrong(err)
	}
	problems := plan.Check(kinds.Parser(), others, func(set *definition.Set) []definition.Problem { return compiled(asIfThere(set), nil) })
	if slices.ContainsFunc(problems, func(p definition.Problem) bool { return !p.Warning }) {
		printProblems(errs, "", problems)
		return wrong(errors.New("nothing was changed"))
	}
	done := ""
	if f.dryRun {
		done = " (dry run)"
	} else if err := s.Write(ctx, plan); err != nil {
		if errors.Is(err, apply.ErrTooMuch) {
			return wrong(err)
		}
		return unreachable(err)
	}
	printProblems(errs, "", problems)
	for _, a := range plan.Actions {
		fmt.Fprintf(out, "%s %s%s\n", cell(a.Name), a.What, done)
	}
	return nil
}
