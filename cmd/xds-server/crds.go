package main

import (
	"github.com/spf13/cobra"

	"wasmxds/definition/crd"
)

const crdsHelp = `Print the CustomResourceDefinitions of the native kinds (WasmFilter, LuaFilter,
Listener, Rollout and FilterTest, in wasmxds.dev/v1alpha1) and of Change, in which
"serve --kubernetes-status" reports the progress of rollouts. The spec of an object
has the fields that stand next to kind and name in a file. With these definitions,
the Kubernetes API server rejects most mistakes by itself.`

const crdsExample = `  xds-server crds | kubectl apply --server-side -f -`

func newCRDs() *cobra.Command {
	return prints("the CRDs", crd.YAML, &cobra.Command{
		Use:     "crds",
		Short:   "Print the CustomResourceDefinitions of the native kinds",
		Long:    crdsHelp,
		Example: crdsExample,
	})
}
