package main

import (
	"context"
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
	"google.golang.org/protobuf/encoding/protojson"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/bootstrap"
	"wasmxds/definition"
)

const bootstrapHelp = `Print an Envoy bootstrap configuration. It sets the node's ID, cluster and labels,
by which definitions select Envoys, and connects Envoy to xds-server for everything
else.

Replicas: give --xds-address the addresses of all xds-servers, separated by commas.
Envoy connects to one of them, and to the next one when that fails or is silent for
15 s. Each Envoy gets the addresses in a different order. xds-servers that share a
state move Envoys to the least loaded one.

Static listeners: with --static-listeners, Envoy keeps the listeners and clusters of
that file (or of the static_resources of an envoy.yaml) and receives only the HTTP
filters that their slots ask for. A slot is an HTTP filter with config_discovery over
ADS that has the name of a WasmFilter.

Sampling: one layer of Envoy's runtime also comes from xds-server, which uses it to
ask the Envoy to report a share of its requests; see "serve --help". At startup,
Envoy waits up to a second for this layer.

TLS: with --ca, Envoy connects by TLS; with --cert and --key, it presents a client
certificate. These are files on Envoy's machine. To reload renewed certificates
without a restart, also set --secrets-dir and run this command on that machine: it
writes two SDS files to the directory.

Draining: when a listener is replaced, existing connections stay with the old
listener until Envoy has drained them. That takes up to 600 s, or what Envoy's flag
--drain-time-s says. Pass the same time as --drain-time, so that "status" knows when
draining ends; the command line to start Envoy with is printed as the first line.
During that time Envoy gradually closes connections that are in use; with
--drain-strategy immediate it closes each one after its next response. Idle
connections stay open until the end.

Services: --wasm-service NAME adds a Wasm service, a WasmFilter with place: service. It
is read from the running xds-server at --admin, which may need --admin-token-file. An
Envoy keeps a service until it exits. When the definition changes, "status" shows which
Envoys need a new bootstrap and a restart.

Hanging filters: a filter that never returns from a request blocks a worker thread
and its connections. Envoy aborts after --hang-timeout (some versions, such as
1.36.2, after four times that) and must be restarted by whatever started it:
systemd, Docker or Kubernetes. xds-server counts this against a change that is in
progress.`

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

  # with a Wasm service
  xds-server bootstrap --node-id edge-1 --wasm-service usage > envoy.yaml

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
	services           []string
	ask                adminFlags
}

func newBootstrap() *cobra.Command {
	var f bootstrapFlags
	cmd := &cobra.Command{
		Use:     "bootstrap --node-id ID",
		Short:   "Print an Envoy bootstrap configuration",
		Long:    bootstrapHelp,
		Example: bootstrapExample,
		Args:    positional(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.node.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.xds, "xds-address", "127.0.0.1:18000", "`address` at which Envoy reaches xds-server; separate several replicas with commas")
	flags.StringVar(&f.admin, "admin-address", "127.0.0.1:9901", "`address` of Envoy's own admin interface; empty disables it")
	flags.StringVar(&f.protocol, "protocol", "delta", "ADS `protocol`: delta or sotw (state of the world)")
	flags.StringVar(&f.static, "static-listeners", "", "`file` of listeners and clusters that Envoy keeps in its bootstrap")
	flags.IntVar(&f.replicas, "xds-replicas", 0, "`number` of replicas behind a single --xds-address, such as a Service; xds-server can then move the Envoy to another one")
	flags.StringVar(&f.modulesURL, "modules-url", "", "`URL` from which Envoy downloads modules; separate several replicas with commas (default port 18001 on the hosts of --xds-address; https with --ca)")
	flags.DurationVar(&f.drain, "drain-time", 10*time.Minute, "Envoy's drain `time`; must equal its --drain-time-s")
	flags.DurationVar(&f.hang, "hang-timeout", 30*time.Second, "`time` that a filter may block a worker thread before Envoy aborts, 1s to 24h; 0 means forever")
	flags.StringVar(&f.tls.CA, "ca", "", "CA bundle `file` for verifying xds-server's certificate; enables TLS")
	flags.StringVar(&f.tls.Cert, "cert", "", "Envoy's client certificate `file`")
	flags.StringVar(&f.tls.Key, "key", "", "private key `file` of --cert")
	flags.StringVar(&f.tls.ServerName, "server-name", "", "server `name` to send by SNI (default the host of --xds-address)")
	flags.StringVar(&f.tls.SAN, "server-san", "", "subject alternative `name` that xds-server's certificate must have: a DNS name, IP address or URI (default --server-name)")
	flags.StringVar(&f.tls.SecretsDir, "secrets-dir", "", "`directory` for the SDS files through which Envoy reloads renewed certificates")
	flags.StringArrayVar(&f.services, "wasm-service", nil, "`name` of a Wasm service to add, which is read from the xds-server at --admin; repeatable")
	f.ask.add(flags, "token `file` for xds-server's admin address")
	completeDir(cmd, "secrets-dir")
	completeValues(cmd, "protocol", "delta", "sotw")
	return cmd
}

func (f *bootstrapFlags) run(ctx context.Context, out, errs io.Writer) error {
	switch {
	case f.node.id == "":
		return misused(errNoNode)
	case f.protocol != string(bootstrap.Delta) && f.protocol != string(bootstrap.SOTW):
		return misused(fmt.Errorf("--protocol %s: must be delta or sotw", f.protocol))
	case f.drain < time.Second:
		return misused(fmt.Errorf("--drain-time %v: must be at least 1s", f.drain))
	case f.hang < 0 || f.hang > 0 && f.hang < time.Second:
		return misused(fmt.Errorf("--hang-timeout %v: must be 0, or at least 1s", f.hang))
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
			return wrong(errors.New("--static-listeners: the file contains no listeners or clusters"))
		}
		o.Static = resources
	}
	if err := f.modules(&o); err != nil {
		return misused(err)
	}
	if err := f.getServices(ctx, &o); err != nil {
		return err
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

// getServices asks xds-server for the services.
func (f *bootstrapFlags) getServices(ctx context.Context, o *bootstrap.Options) error {
	if len(f.services) == 0 {
		return nil
	}
	client, err := f.ask.client(10 * time.Second)
	if err != nil {
		return err
	}
	for _, name := range f.services {
		s, err := client.Service(ctx, name)
		if err != nil {
			return asked(err)
		}
		config := new(wasmv3.WasmService)
		if err := protojson.Unmarshal(s.Config, config); err != nil {
			return wrong(fmt.Errorf("service %s: read the answer of %s: %w", name, f.ask.admin, err))
		}
		o.Services = append(o.Services, bootstrap.Service{Name: s.Name, Version: s.Version, SHA256: s.SHA256, Wait: s.Wait, Config: config})
	}
	return nil
}

// modules sets what has to do with modules, and with TLS.
func (f *bootstrapFlags) modules(o *bootstrap.Options) error {
	if f.tls.CA == "" {
		if f.tls != (bootstrap.TLS{}) {
			return errors.New("--ca is required: the CA bundle that verifies xds-server's certificate")
		}
		return f.modulesAt(o, "http")
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
	o.TLS = &f.tls
	return f.modulesAt(o, "https")
}

// modulesAt sets where modules are: where people say, or else on the hosts of xds-server.
func (f *bootstrapFlags) modulesAt(o *bootstrap.Options, scheme string) error {
	if o.ModulesURL = f.modulesURL; o.ModulesURL != "" {
		for at := range strings.SplitSeq(f.modulesURL, ",") {
			if !isHTTP(strings.TrimSpace(at)) {
				return fmt.Errorf("--modules-url %s: is not a URL like http://10.0.0.5:18001", at)
			}
		}
		return nil
	}
	var urls []string
	for at := range strings.SplitSeq(f.xds, ",") {
		host, _, err := net.SplitHostPort(strings.TrimSpace(at))
		if err != nil {
			return fmt.Errorf("--xds-address %s: %w", f.xds, err)
		}
		if u := scheme + "://" + net.JoinHostPort(host, "18001"); !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	o.ModulesURL = strings.Join(urls, ",")
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
