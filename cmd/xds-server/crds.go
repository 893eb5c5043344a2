package main

import (
	"github.com/spf13/cobra"

	"wasmxds/definition/crd"
)

const crdsHelp = `Print the CustomResourceDefinitions of the native kinds, WasmFilter, LuaFilter,
Listener and Rollout, in wasmxds.dev/v1alpha1, and of Change, by which serve
--kubernetes-status tells how far changes are. The spec of an object is what stands beside kind
and name in a file. A Kubernetes API server that has them refuses most mistakes by
itself.`

const crdsExample = `  xds-server crds | kubectl apply --server-side -f -`

func newCRDs() *cobra.Command {
	return prints("the CRDs", crd.YAML, &cobra.Command{
		Use:     "crds",
		Short:   "Print the CustomResourceDefinitions of the native kinds",
		Long:    crdsHelp,
		Example: crdsExample,
	})
}
