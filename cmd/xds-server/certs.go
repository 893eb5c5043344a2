package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/certs"
)

const certsHelp = `Make a certificate authority and, from it, certificates for xds-server and for
Envoys: for development and tests, since the authority's key lies beside them.

The folder gets ca.crt, server.crt and server.key, and for each --client NAME
client-NAME.crt and client-NAME.key, which is spiffe://TRUST-DOMAIN/node/NAME.
An authority that is there is used again; all others are made anew, which a
running xds-server and its Envoys notice.`

const certsExample = `  xds-server certs --out certs --client edge-1
  xds-server serve --definitions definitions/ \
      --tls-cert certs/server.crt --tls-key certs/server.key --tls-client-ca certs/ca.crt
  xds-server bootstrap --node-id edge-1 --ca certs/ca.crt \
      --cert certs/client-edge-1.crt --key certs/client-edge-1.key --secrets-dir envoy > envoy.yaml`

type certsFlags struct {
	out string
	dev certs.Development
}

func newCerts() *cobra.Command {
	var f certsFlags
	cmd := &cobra.Command{
		Use:     "certs --out DIR",
		Short:   "Make certificates for development",
		Long:    certsHelp,
		Example: certsExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.out, "out", "", "`directory` to write to")
	flags.StringArrayVar(&f.dev.Clients, "client", nil, "`name` of an Envoy to make a certificate for; may be given again")
	flags.StringArrayVar(&f.dev.Hosts, "host", nil, "`name` or address at which Envoys reach xds-server, besides localhost; may be given again")
	flags.StringVar(&f.dev.TrustDomain, "trust-domain", "wasmxds.dev", "trust `domain` of the SPIFFE IDs")
	flags.DurationVar(&f.dev.Valid, "valid", 90*24*time.Hour, "`time` that certificates are good for; the authority's is ten years")
	completeDir(cmd, "out")
	return cmd
}

func (f *certsFlags) run(out io.Writer) error {
	switch {
	case f.out == "":
		return misused(fmt.Errorf("--out is needed: the directory to write to"))
	case f.dev.Valid <= 0:
		return misused(fmt.Errorf("--valid %v: more than nothing", f.dev.Valid))
	}
	written, err := certs.Dev(f.out, f.dev)
	if err != nil {
		return wrong(err)
	}
	for _, file := range written {
		fmt.Fprintln(out, file)
	}
	return nil
}
