package main

import (
	"github.com/spf13/cobra"
)

const rootHelp = `xds-server keeps a fleet of Envoys running exactly the Wasm filters that are defined
in a directory, in etcd or in a Kubernetes cluster. Add a definition, and every
matching Envoy runs the filter: without a restart, without an agent beside Envoy,
without a dropped request, and without a request that bypasses the filter.

Every flag can also be set by an environment variable: XDS_SERVER_XDS_LISTEN for
--xds-listen. The command line takes precedence. A variable for a flag of paths that is
repeatable, such as XDS_SERVER_MODULE_ROOT, separates them as PATH does.

Exit codes: 0 success; 1 invalid input, a stopped change, or a difference found by
diff; 2 incorrect usage; 3 an address could not be reached or served.`

const rootExample = `  # serve ./definitions; in a second terminal, start an Envoy that connects to it
  xds-server serve --definitions ./definitions
  xds-server bootstrap --node-id edge-1 > envoy.yaml && envoy -c envoy.yaml

  # before a change: check the definitions, and see what an Envoy would receive
  xds-server validate ./definitions
  xds-server render --definitions ./definitions --node-id edge-1

  # in a pipeline: continue when every Envoy runs the definitions
  xds-server status --wait --timeout 30s`

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:           "xds-server",
		Short:         "Run Wasm filters on a fleet of Envoys",
		Long:          rootHelp,
		Example:       rootExample,
		Version:       versionLine(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			env.warn(cmd.Root(), cmd.ErrOrStderr())
			return env.set(cmd.Flags())
		},
	}
	root.SetVersionTemplate("xds-server {{.Version}}\n")
	root.AddCommand(
		newServe(),
		newValidate(),
		newTry(),
		newRecord(),
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
