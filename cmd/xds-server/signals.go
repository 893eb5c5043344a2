package main

import (
	"errors"

	"github.com/spf13/cobra"

	"wasmxds/bootstrap"
)

const signalsHelp = `Signals: xds-server adds two access loggers to each HTTP connection manager that it
sends, after existing ones. One reports requests that a crashed VM answered. The
other reports a share of all requests when xds-server asks for it over RTDS. Envoy
opens a connection for them only when there is something to report, through the
cluster in its bootstrap that points to --xds-listen; --signals-cluster is the name
of this cluster. An Envoy without this cluster reports nothing. An Envoy that is built
without the CEL access log filter rejects such listeners: use --signals=false, which
omits the loggers. Turning signals on or off replaces listeners.`

// signalsFlags say what Envoys tell of requests.
type signalsFlags struct {
	on      bool
	cluster string
}

func (s *signalsFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.on, "signals", true, "have Envoys report crashed VMs and sampled requests")
	cmd.Flags().StringVar(&s.cluster, "signals-cluster", bootstrap.XDSCluster, "`name` of the cluster in Envoys' bootstraps that points to --xds-listen")
}

// signals gives the cluster; "": they are off.
func (s *signalsFlags) signals() (cluster string, err error) {
	switch {
	case !s.on:
		return "", nil
	case s.cluster == "":
		return "", errors.New("--signals-cluster is empty; to turn signals off, use --signals=false")
	}
	return s.cluster, nil
}
