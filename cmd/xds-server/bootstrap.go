package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"wasmxds/bootstrap"
	"wasmxds/definition"
)

const bootstrapHelp = `Print the configuration that an Envoy starts with: who it is, and that all else
comes from xds-server. Id, cluster and labels are what definitions select by.

With --static-listeners, Envoy has the listeners (and clusters) of that file for
itself, and gets only the filters that their slots ask for: HTTP filters with
config_discovery over ADS, named as the WasmFilter is.`

const bootstrapExample = `  xds-server bootstrap --node-id edge-1 > envoy.yaml && envoy -c envoy.yaml
  xds-server bootstrap --node-id edge-1 --node-cluster edge --node-label app=web --xds-address xds.internal:18000

  # an Envoy that keeps its own listeners
  xds-server bootstrap --node-id edge-1 --static-listeners listeners.yaml --modules-url http://xds.internal:18001`

type bootstrapFlags struct {
	node               nodeFlags
	xds, admin         string
	protocol           string
	static, modulesURL string
}

func newBootstrap() *cobra.Command {
	var f bootstrapFlags
	cmd := &cobra.Command{
		Use:     "bootstrap --node-id ID",
		Short:   "Print the configuration that an Envoy starts with",
		Long:    bootstrapHelp,
		Example: bootstrapExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.node.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.xds, "xds-address", "127.0.0.1:18000", "`address` of xds-server, as seen from Envoy")
	flags.StringVar(&f.admin, "admin-address", "127.0.0.1:9901", "`address` of Envoy's own admin interface; empty: none")
	flags.StringVar(&f.protocol, "protocol", "delta", "ADS `protocol`: delta or sotw (state of the world)")
	flags.StringVar(&f.static, "static-listeners", "", "`file` of listeners and clusters that Envoy has by itself")
	flags.StringVar(&f.modulesURL, "modules-url", "http://127.0.0.1:18001", "`URL` at which Envoy reaches the modules (with --static-listeners)")
	completeValues(cmd, "protocol", "delta", "sotw")
	return cmd
}

func (f *bootstrapFlags) run(out, errs io.Writer) error {
	switch {
	case f.node.id == "":
		return misused(errNoNode)
	case f.protocol != string(bootstrap.Delta) && f.protocol != string(bootstrap.SOTW):
		return misused(fmt.Errorf("--protocol %s: delta or sotw", f.protocol))
	}
	o := bootstrap.Options{
		Node:         definition.Node{ID: f.node.id, Cluster: f.node.cluster, Labels: f.node.labels},
		XDSAddress:   f.xds,
		AdminAddress: f.admin,
		Protocol:     bootstrap.Protocol(f.protocol),
	}
	if f.static != "" {
		data, err := readLimited(f.static)
		if err != nil {
			return wrong(fmt.Errorf("read --static-listeners: %w", err))
		}
		resources, problems := definition.ParseStatic(f.static, data)
		printProblems(errs, "", problems)
		if len(resources) == 0 {
			return wrong(errors.New("--static-listeners: there is nothing to use in it"))
		}
		o.Static, o.ModulesURL = resources, f.modulesURL
	}
	b, err := bootstrap.Render(o)
	if err != nil {
		return wrong(err)
	}
	_, err = out.Write(b)
	return err
}
