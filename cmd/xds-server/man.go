package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan writes the man pages of all commands. Packagers use it; it is not in
// the help.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the man pages to a directory",
		Hidden: true,
		Args:   positional(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return wrong(fmt.Errorf("write man pages: %w", err))
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "wasmxds", Manual: "wasmxds", Date: buildDate()}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return wrong(fmt.Errorf("write man pages: %w", err))
			}
			return nil
		},
	}
}

// buildDate is that of the commit, so that the same source gives the same
// pages; nil where it is not known ($SOURCE_DATE_EPOCH or today is taken).
func buildDate() *time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				return &t
			}
		}
	}
	return nil
}
