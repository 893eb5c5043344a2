package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"wasmxds/module/dryrun"
)

const trialHelp = `Try modules on behalf of the xds-server that starts this command. It reads requests
from standard input and writes results to standard output. Not for interactive use.`

// newTrial is the command that this program starts itself by, so that a module
// that is tried has a process of its own to ruin.
func newTrial() *cobra.Command {
	return &cobra.Command{
		Use:    trialName,
		Short:  "Try modules for another xds-server",
		Long:   trialHelp,
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			// The command's own output is made printable.
			return &exitError{code: dryrun.Sandbox(os.Stdin, os.Stdout)}
		},
	}
}

const trialName = "trial"

// trialCommand starts the program that runs now, also when its file has been
// replaced meanwhile.
func trialCommand() ([]string, error) {
	program := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
	}
	return []string{program, "xds-server", trialName}, nil
}
