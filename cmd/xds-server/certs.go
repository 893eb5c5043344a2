package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/certs"
)

const certsHelp = `Create a certificate authority and certificates for xds-server and Envoys. Use it
for development and tests only: the authority's private key is stored next to the
certificates.

The directory gets ca.crt, server.crt and server.key, and for each --client NAME
client-NAME.crt and client-NAME.key with the SPIFFE ID spiffe://TRUST-DOMAIN/node/NAME.
An existing authority is reused. All other certificates are issued again; a running
xds-server and its Envoys reload them.`

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
		Short:   "Create certificates for development",
		Long:    certsHelp,
		Example: certsExample,
		Args:    positional(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.out, "out", "", "`directory` to write to")
	flags.StringArrayVar(&f.dev.Clients, "client", nil, "`name` of an Envoy to issue a client certificate for; repeatable")
	flags.StringArrayVar(&f.dev.Hosts, "host", nil, "host `name` or IP address at which Envoys reach xds-server, in addition to localhost; repeatable")
	flags.StringVar(&f.dev.TrustDomain, "trust-domain", "wasmxds.dev", "trust `domain` of the SPIFFE IDs")
	flags.DurationVar(&f.dev.Valid, "valid", 90*24*time.Hour, "validity `time` of the certificates; that of the authority is ten years")
	completeDir(cmd, "out")
	return cmd
}

func (f *certsFlags) run(out io.Writer) error {
	switch {
	case f.out == "":
		return misused(fmt.Errorf("--out is required: the directory to write to"))
	case f.dev.Valid <= 0:
		return misused(fmt.Errorf("--valid %v: must be positive", f.dev.Valid))
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
