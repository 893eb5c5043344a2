package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"wasmxds/bootstrap"
	"wasmxds/definition"
)

const bootstrapHelp = `Print the configuration that an Envoy starts with: who it is, and that all else
comes from xds-server. Id, cluster and labels are what definitions select by.

Where xds-server has several replicas, --xds-address has the addresses of all,
with commas between. Envoy goes to any of them, and to the next when that fails
it, or is silent for 15 s. They are written in an order of each Envoy's own; those
that share a state have Envoys go to where fewer are.

With --static-listeners, Envoy has the listeners (and clusters) of that file, or of
the static_resources of an envoy.yaml, for itself, and gets only the filters that their slots ask for: HTTP filters with
config_discovery over ADS, named as the WasmFilter is.

One layer of Envoy's runtime comes from xds-server as well: in it the Envoy can be
asked to tell of a share of its requests ("serve --help" has more). Envoy waits for
it for a second at its start, and goes on without.

With --ca, Envoy reaches xds-server by TLS, and with --cert and --key it shows
who it is. All are files on Envoy's machine. Renewed ones are taken in while it
runs if --secrets-dir names a folder there; run this command there, since it
writes two files to that folder by which Envoy finds the certificates.

Where a listener is replaced, connections that were opened before stay with the
old one until Envoy has drained them: up to 600 s, or as many as its own flag
--drain-time-s says. Give the same time here, as --drain-time: what is printed
begins with the command line that goes with it, and tells it to xds-server, so
that "status" says when all is drained. Over that time Envoy closes ever more of
the connections that are used; with --drain-strategy immediate all of them, each
with its next response. Those that are not used stay for the whole time.

A filter that does not come back from a request keeps a worker thread of Envoy
for ever, and with it a share of the connections. After --hang-timeout Envoy ends
itself, some versions (1.36.2) after four times that, and whatever started it
(systemd, Docker, Kubernetes) is to start it again. xds-server counts that against
a change that is under way.`

const bootstrapExample = `  xds-server bootstrap --node-id edge-1 > envoy.yaml && envoy -c envoy.yaml
  xds-server bootstrap --node-id edge-1 --node-cluster edge --node-label app=web --xds-address xds.internal:18000

  # with two replicas of xds-server
  xds-server bootstrap --node-id edge-1 --xds-address xds-0.internal:18000,xds-1.internal:18000

  # drained within a minute
  xds-server bootstrap --node-id edge-1 --drain-time 60s > envoy.yaml && envoy -c envoy.yaml --drain-time-s 60

  # by TLS, with a certificate of its own
  xds-server bootstrap --node-id edge-1 --xds-address xds.internal:18000 \
      --ca /etc/envoy/certs/ca.crt --cert /etc/envoy/certs/tls.crt --key /etc/envoy/certs/tls.key \
      --secrets-dir /etc/envoy/wasmxds > envoy.yaml

  # an Envoy that keeps its own listeners
  xds-server bootstrap --node-id edge-1 --static-listeners listeners.yaml --modules-url http://xds.internal:18001`

type bootstrapFlags struct {
	node               nodeFlags
	xds, admin         string
	replicas           int // behind xds
	protocol           string
	static, modulesURL string
	drain, hang        time.Duration
	tls                bootstrap.TLS
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
	flags.StringVar(&f.xds, "xds-address", "127.0.0.1:18000", "`address` of xds-server, as seen from Envoy; of several replicas with commas between")
	flags.StringVar(&f.admin, "admin-address", "127.0.0.1:9901", "`address` of Envoy's own admin interface; empty: none")
	flags.StringVar(&f.protocol, "protocol", "delta", "ADS `protocol`: delta or sotw (state of the world)")
	flags.StringVar(&f.static, "static-listeners", "", "`file` of listeners and clusters that Envoy has by itself")
	flags.IntVar(&f.replicas, "xds-replicas", 0, "`number` of replicas behind the one --xds-address, as of a Service, so that xds-server may send the Envoy to another")
	flags.StringVar(&f.modulesURL, "modules-url", "", "`URL` at which Envoy reaches the modules, of several replicas with commas between (default http://127.0.0.1:18001, or with --ca https, the hosts of --xds-address and port 18001)")
	flags.DurationVar(&f.drain, "drain-time", 10*time.Minute, "`time` for which Envoy drains, the same as its --drain-time-s")
	flags.DurationVar(&f.hang, "hang-timeout", 30*time.Second, "`time` that a filter may keep a worker thread before Envoy ends itself, 1s to 24h; 0: for ever")
	flags.StringVar(&f.tls.CA, "ca", "", "`file` of the authorities that xds-server's certificate is from")
	flags.StringVar(&f.tls.Cert, "cert", "", "`file` of Envoy's own certificate")
	flags.StringVar(&f.tls.Key, "key", "", "`file` of its key")
	flags.StringVar(&f.tls.ServerName, "server-name", "", "`name` to ask xds-server for by SNI (default the host of --xds-address)")
	flags.StringVar(&f.tls.SAN, "server-san", "", "DNS `name`, IP address or URI in xds-server's certificate (default --server-name)")
	flags.StringVar(&f.tls.SecretsDir, "secrets-dir", "", "`directory` to write the files to by which Envoy finds its certificates")
	completeDir(cmd, "secrets-dir")
	completeValues(cmd, "protocol", "delta", "sotw")
	return cmd
}

func (f *bootstrapFlags) run(out, errs io.Writer) error {
	switch {
	case f.node.id == "":
		return misused(errNoNode)
	case f.protocol != string(bootstrap.Delta) && f.protocol != string(bootstrap.SOTW):
		return misused(fmt.Errorf("--protocol %s: delta or sotw", f.protocol))
	case f.drain < time.Second:
		return misused(fmt.Errorf("--drain-time %v: at least 1s", f.drain))
	case f.hang < 0 || f.hang > 0 && f.hang < time.Second:
		return misused(fmt.Errorf("--hang-timeout %v: 0, or at least 1s", f.hang))
	}
	o := bootstrap.Options{
		Node:         f.node.node(),
		XDSAddress:   f.xds,
		Replicas:     f.replicas,
		AdminAddress: f.admin,
		Protocol:     bootstrap.Protocol(f.protocol),
		DrainTime:    f.drain,
		HangTimeout:  f.hang,
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
		o.Static = resources
	}
	if err := f.modules(&o); err != nil {
		return misused(err)
	}
	b, err := bootstrap.Render(o)
	if err != nil {
		return wrong(err)
	}
	if err := f.writeSecrets(); err != nil {
		return wrong(err)
	}
	_, err = out.Write(b)
	return err
}

// modules sets what has to do with modules, and with TLS.
func (f *bootstrapFlags) modules(o *bootstrap.Options) error {
	if f.tls.CA == "" {
		if f.tls != (bootstrap.TLS{}) {
			return errors.New("--ca is needed: the file of the authorities that xds-server's certificate is from")
		}
		o.ModulesURL = cmp.Or(f.modulesURL, "http://127.0.0.1:18001")
		return nil
	}
	for _, file := range []*string{&f.tls.CA, &f.tls.Cert, &f.tls.Key, &f.tls.SecretsDir} {
		if *file == "" {
			continue
		}
		var err error
		if *file, err = filepath.Abs(*file); err != nil { // Envoy may be started anywhere
			return err
		}
	}
	o.TLS, o.ModulesURL = &f.tls, f.modulesURL
	if o.ModulesURL == "" {
		var urls []string
		for at := range strings.SplitSeq(f.xds, ",") {
			host, _, err := net.SplitHostPort(strings.TrimSpace(at))
			if err != nil {
				return fmt.Errorf("--xds-address %s: %w", f.xds, err)
			}
			if u := "https://" + net.JoinHostPort(host, "18001"); !slices.Contains(urls, u) {
				urls = append(urls, u)
			}
		}
		o.ModulesURL = strings.Join(urls, ",")
	}
	return nil
}

func (f *bootstrapFlags) writeSecrets() error {
	if f.tls.SecretsDir == "" {
		return nil
	}
	files, err := f.tls.Secrets()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.tls.SecretsDir, 0o755); err != nil {
		return fmt.Errorf("make --secrets-dir: %w", err)
	}
	for name, content := range files {
		// Only paths are in them, nothing secret.
		if err := renameio.WriteFile(filepath.Join(f.tls.SecretsDir, name), content, 0o644); err != nil {
			return fmt.Errorf("write to --secrets-dir: %w", err)
		}
	}
	return nil
}
