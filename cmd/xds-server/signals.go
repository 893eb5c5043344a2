package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"

	"wasmxds/bootstrap"
)

const signalsHelp = `Signals: xds-server adds two access loggers to each HTTP connection manager that it
sends, after existing ones. One reports requests that a crashed VM answered. The
other reports a share of all requests when xds-server asks for it over RTDS. Envoy
opens a connection for them only when there is something to report, through the
cluster in its bootstrap that points to --xds-listen; --signals-cluster is the name
of this cluster. An Envoy without this cluster reports nothing. An Envoy that is built
without the CEL access log filter rejects such listeners: use --signals=false, which
omits the loggers. Turning signals on or off replaces listeners, and so does a change of
--record-headers: the request headers that "xds-server record" can record beside
user-agent and referer. Set it before the first listener is served.`

// signalsFlags say what Envoys tell of requests.
type signalsFlags struct {
	on      bool
	cluster string
	record  []string
}

// maxRecordHeaders bounds what each entry of a request may have.
const maxRecordHeaders = 32

func (s *signalsFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.on, "signals", true, "have Envoys report crashed VMs and sampled requests")
	cmd.Flags().StringSliceVar(&s.record, "record-headers", nil, "`names` of request headers that listeners log for xds-server record; comma-separated")
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

// recordHeaders gives the names of headers that are logged for recordings.
func (s *signalsFlags) recordHeaders() ([]string, error) {
	var names []string
	for _, name := range s.record {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !s.on:
			return nil, errors.New("--record-headers needs signals, and --signals=false turns them off")
		case !httpguts.ValidHeaderFieldName(name):
			return nil, fmt.Errorf("--record-headers: %q is not the name of a header", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > maxRecordHeaders {
		return nil, fmt.Errorf("--record-headers: %d names, at most %d", len(names), maxRecordHeaders)
	}
	return names, nil
}
