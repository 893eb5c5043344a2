package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// positional wants from least to most arguments; most < 0 is any number. What it says
// of others is what is expected, by the command's usage.
func positional(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("an argument is missing: %s", cmd.UseLine())
		case most < 0 || len(args) <= most:
			return nil
		case cmd.Flags().Lookup("definitions") != nil:
			return fmt.Errorf("unexpected argument %q; a directory is given as --definitions %s", args[most], args[most])
		}
		return fmt.Errorf("unexpected argument %q: %s", args[most], cmd.UseLine())
	}
}

// checkAmounts checks the flags of serve that are amounts.
func (f *serveFlags) checkAmounts() error {
	var wrong []error
	if f.moduleLimit < 1 {
		wrong = append(wrong, fmt.Errorf("--module-limit %d: must be at least 1 byte", f.moduleLimit))
	}
	if f.poll < 0 {
		wrong = append(wrong, fmt.Errorf("--poll-interval %v: must not be negative", f.poll))
	}
	if f.drain < 0 {
		wrong = append(wrong, fmt.Errorf("--drain %v: must not be negative", f.drain))
	}
	return errors.Join(wrong...)
}
