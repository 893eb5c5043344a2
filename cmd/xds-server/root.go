package main

import (
	"github.com/spf13/cobra"
)

const rootHelp = `xds-server keeps Wasm filters on a fleet of Envoys the way they are written in a
directory, in etcd or in a Kubernetes cluster. Drop a definition in, and every
matching Envoy runs the filter: no restart, no agent beside Envoy, no dropped
request, and never a request that slips past the filter.

Every flag can also be given by the environment: --xds-listen is
XDS_SERVER_XDS_LISTEN. The command line goes first.

Exit codes: 0 done, 1 the input is wrong, a change was stopped, or diff has one to
show, 2 wrong usage, 3 could not reach or serve.`

const rootExample = `  # serve what is in ./definitions; in a second terminal, start an Envoy that asks for it
  xds-server serve --definitions ./definitions
  xds-server bootstrap --node-id edge-1 > envoy.yaml && envoy -c envoy.yaml

  # look before you leap: what is wrong, and what would this Envoy get
  xds-server validate ./definitions
  xds-server render --definitions ./definitions --node-id edge-1

  # in a pipeline: go on when every Envoy runs what is written
  xds-server status --wait --timeout 30s`

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:           "xds-server",
		Short:         "Wasm filters on a fleet of Envoys, as definitions say",
		Long:          rootHelp,
		Example:       rootExample,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			env.warn(cmd.Root(), cmd.ErrOrStderr())
			return env.set(cmd.Flags())
		},
	}
	root.AddCommand(
		newServe(),
		newValidate(),
		newVerify(),
		newRender(),
		newBootstrap(),
		newCerts(),
		newConvert(),
		newSchema(),
		newCRDs(),
		newNew(),
		newApply(),
		newGet(),
		newDelete(),
		newDiff(),
		newStatus(),
		newRollout(),
		newVersion(),
		newMan(),
		newTrial(),
	)
	return root
}

// completeValues makes shells offer the values of a flag that has few.
func completeValues(cmd *cobra.Command, flag string, values ...string) {
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag is misspelt in this program
	}
}

// completeDir makes shells offer directories for a flag.
func completeDir(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagDirname(flag); err != nil {
		panic(err) // the flag is misspelt in this program
	}
}

// completeFiles makes shells offer files for flags.
func completeFiles(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagFilename(flag); err != nil {
			panic(err) // the flag is misspelt in this program
		}
	}
}
