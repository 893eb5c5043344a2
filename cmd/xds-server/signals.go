package main

import (
	"errors"

	"github.com/spf13/cobra"

	"wasmxds/bootstrap"
)

const signalsHelp = `Each HTTP connection manager of listeners that xds-server sends gets two access
loggers, behind those of its own: one tells of requests that a crashed VM
answered, the other of a share of all requests, where xds-server asks for it over
RTDS. Envoy connects for either only once it has something to tell, by the cluster
in its bootstrap that leads to --xds-listen: --signals-cluster is its name. An
Envoy without such a cluster tells nothing; one that is built without Envoy's CEL
access log filter refuses such listeners. --signals=false leaves the loggers out.
To turn them on or off replaces listeners.`

// signalsFlags say what Envoys tell of requests.
type signalsFlags struct {
	on      bool
	cluster string
}

func (s *signalsFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.on, "signals", true, "have Envoys tell of crashed VMs, and of requests that are sampled")
	cmd.Flags().StringVar(&s.cluster, "signals-cluster", bootstrap.XDSCluster, "`name` of the cluster in Envoys' bootstraps that leads to --xds-listen")
}

// signals gives the cluster; "": they are off.
func (s *signalsFlags) signals() (cluster string, err error) {
	switch {
	case !s.on:
		return "", nil
	case s.cluster == "":
		return "", errors.New("--signals-cluster is empty: to have no signals, say --signals=false")
	}
	return s.cluster, nil
}
