package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wasmxds/scaffold"
)

const newFilterHelp = `Create a folder with a filter that builds: source, tests, Makefile, a
definition and a FilterTest. The filter adds a header to requests; change it to do what you need.

Go filters need the standard Go toolchain, Rust filters the wasm32-wasip1 target.`

const newFilterExample = `  xds-server new filter greet --lang go
  cd greet && make try && make install TO=/path/to/definitions`

func newNew() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Create a new filter",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return misused(fmt.Errorf("specify what to create: xds-server new filter NAME"))
		},
	}
	cmd.AddCommand(newNewFilter())
	return cmd
}

func newNewFilter() *cobra.Command {
	var dir, lang string
	cmd := &cobra.Command{
		Use:     "filter NAME",
		Short:   "Create a folder with a filter that builds",
		Long:    newFilterHelp,
		Example: newFilterExample,
		Args:    positional(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(scaffold.Languages, lang) {
				return misused(fmt.Errorf("--lang %s: %s", lang, strings.Join(scaffold.Languages, " or ")))
			}
			if err := scaffold.New(dir, args[0], lang); err != nil {
				return wrong(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is ready; its README.md says how to build it\n", filepath.Join(dir, args[0]))
			return nil
		},
	}
	cmd.Flags().StringVar(&lang, "lang", scaffold.Languages[0], "`language`: "+strings.Join(scaffold.Languages, " or "))
	cmd.Flags().StringVar(&dir, "dir", ".", "parent `directory` of the new folder")
	completeValues(cmd, "lang", scaffold.Languages...)
	completeDir(cmd, "dir")
	return cmd
}
