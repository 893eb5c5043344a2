package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"wasmxds/bootstrap"
	"wasmxds/bounded"
	"wasmxds/collect"
	"wasmxds/module"
	"wasmxds/module/serve"
	"wasmxds/resource"
	"wasmxds/xds/transport"
)

const serveHelp = `Watch definitions in a directory, in etcd or in a Kubernetes cluster, and keep every
connected Envoy up to date.

Addresses: Envoys connect to --xds-listen (ADS) and download modules from
--modules-listen. --admin-listen serves the page, status, metrics, /healthz and
/readyz, which succeeds once the first complete set of resources is ready.
xds-servers that share a state reach each other at --peer-listen.

Data directory: xds-server stores modules and the last good version of each
definition and filter, so that nothing is lost if an origin is unavailable when it
starts. The default is $XDG_STATE_HOME/wasmxds, or ~/.local/state/wasmxds. Only one
xds-server can use a data directory at a time.

Removals: a change that would remove more than half of four or more definitions at
once is held back, because a volume that is not mounted looks the same. All
definitions stay in force, even across restarts, and status reports this, until
enough of the files are back. To remove them, remove at most half at a time, use
"xds-server rollout promote", or set --removals all.

Signals: on SIGTERM or Ctrl-C, /readyz returns 503, Envoys are told to open new streams
elsewhere, and open streams end after --drain. Envoys keep what they run. A second
signal stops xds-server at once. SIGHUP reads the directory again. Under systemd,
xds-server supports Type=notify and Type=notify-reload.

Tracing: if OTEL_EXPORTER_OTLP_ENDPOINT is set, each change is exported as a trace by
OTLP over HTTP: reading, fetching, trying, compiling, publishing, and when Envoys
primed and swapped each filter. The other variables of OpenTelemetry apply, too.`

const serveExample = `  xds-server serve --definitions definitions/
  xds-server serve --definitions definitions/ --data /var/lib/wasmxds \
      --xds-listen 10.0.0.5:18000 --modules-listen 10.0.0.5:18001 --log-format json

  # from the objects of a Kubernetes cluster and a directory
  xds-server serve --definitions definitions/ --kubernetes --kubeconfig ~/.kube/config

  # from etcd, where xds-server apply writes the definitions
  xds-server serve --etcd https://10.0.0.7:2379,https://10.0.0.8:2379,https://10.0.0.9:2379 \
      --etcd-ca etcd-ca.crt --etcd-cert client.crt --etcd-key client.key

  # on free ports, which are written to a file
  xds-server serve --definitions definitions/ --addresses-file addresses.json \
      --xds-listen 127.0.0.1:0 --modules-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0`

type serveFlags struct {
	definitions, data                     string
	xdsListen, modulesListen, adminListen string
	modulesURL, addressesFile             string
	poll, drain, respare                  time.Duration
	moduleLimit                           int64
	logFormat, logLevel, transport        string
	removals                              string
	spares                                spareFlags
	signals                               signalsFlags
	pprof, checkInvariants                bool
	secure                                secureFlags
	origins                               originFlags
	etcd                                  etcdFlags
	state                                 stateFlags
	peers                                 peerFlags
	kubernetes                            kubernetesFlags
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:     "serve --definitions DIR | --etcd ENDPOINTS | --kubernetes",
		Short:   "Watch definitions and keep all connected Envoys up to date",
		Long:    serveHelp,
		Example: serveExample,
		Args:    positional(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.definitions, "definitions", "", "`directory` of definitions")
	flags.StringVar(&f.data, "data", "", "data `directory` for modules and last good versions (default $XDG_STATE_HOME/wasmxds)")
	flags.StringVar(&f.xdsListen, "xds-listen", "127.0.0.1:18000", "listen `address` for Envoys' ADS streams")
	flags.StringVar(&f.modulesListen, "modules-listen", "127.0.0.1:18001", "listen `address` for module downloads")
	flags.StringVar(&f.adminListen, "admin-listen", "127.0.0.1:19000", "listen `address` for the page, status, metrics and health checks")
	flags.StringVar(&f.modulesURL, "modules-url", "", "`URL` at which Envoys reach --modules-listen (default that address; https with --tls-cert)")
	flags.StringVar(&f.addressesFile, "addresses-file", "", "JSON `file` to write the listen addresses to once all of them are open")
	flags.DurationVar(&f.poll, "poll-interval", 0, "`interval` at which origins are checked for newer versions of modules without a pinned sha256; 0 means never")
	flags.Int64Var(&f.moduleLimit, "module-limit", module.DefaultLimit, "maximum size of a module in `bytes`")
	flags.DurationVar(&f.drain, "drain", 3*time.Second, "`time` for which open streams continue after SIGTERM")
	flags.StringVar(&f.logFormat, "log-format", "text", "log `format`: text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "log `level`: debug, info, warn or error")
	flags.BoolVar(&f.pprof, "pprof", false, "serve /debug/pprof/ at the admin address")
	flags.BoolVar(&f.checkInvariants, "check-invariants", false, "check each response against the invariants of the swap protocol and log violations (for tests)")
	_ = flags.MarkHidden("check-invariants") // it is there
	completeValues(cmd, "log-format", "text", "json")
	completeValues(cmd, "log-level", "debug", "info", "warn", "error")
	completeDir(cmd, "definitions")
	completeDir(cmd, "data")
	flags.StringVar(&f.transport, "transport", "grpc", "`implementation` of ADS streams: grpc, or h2, which needs less memory per Envoy")
	completeValues(cmd, "transport", "grpc", "h2")
	flags.StringVar(&f.removals, "removals", "half", "`limit` on definitions removed at once: half (of four or more) or all")
	completeValues(cmd, "removals", "half", "all")
	f.spares.add(cmd)
	f.signals.add(cmd)
	flags.DurationVar(&f.respare, "respare", 0, "`time` without changes after which a listener is replaced to get its spare slots back; 0 means never")
	f.origins.add(cmd)
	f.secure.add(cmd)
	f.etcd.add(cmd)
	f.state.add(cmd)
	f.peers.add(cmd)
	f.kubernetes.add(cmd)
	cmd.Long += "\n\n" + etcdHelp + "\n\n" + kubernetesHelp + "\n\n" + stateHelp + "\n\n" + peersHelp + "\n\n" + sparesHelp + "\n\n" + signalsHelp + "\n\n" + transportHelp
	return cmd
}

func (f *serveFlags) run(ctx context.Context, cmd *cobra.Command) error {
	if f.definitions == "" && !f.etcd.used() && !f.kubernetes.on {
		return misused(errNoSource)
	}
	spares, err := f.spares.spares()
	signals, wrongSignals := f.signals.signals()
	recordHeaders, wrongHeaders := f.signals.recordHeaders()
	if err := errors.Join(err, wrongSignals, wrongHeaders, f.secure.check(f.modulesURL), f.checkAmounts(), checkTransport(f.transport), checkRespare(f.respare), f.etcd.check(), f.kubernetes.check(f.state.in), f.state.check(&f.etcd), f.peers.check()); err != nil {
		return misused(err)
	}
	if f.removals != "half" && f.removals != "all" {
		return misused(fmt.Errorf("--removals %s: must be half or all", f.removals))
	}
	if f.moduleLimit > bootstrap.MaxModule {
		return misused(fmt.Errorf("--module-limit %d: Envoys can't load modules of more than %d bytes", f.moduleLimit, bootstrap.MaxModule))
	}
	limited, err := newLog(cmd.ErrOrStderr(), f.logFormat, f.logLevel)
	if err != nil {
		return misused(err)
	}
	log := slog.New(limited)
	guard, err := f.secure.open(log)
	if err != nil {
		return wrong(err)
	}
	definitions, folders, err := f.directory()
	if err != nil {
		return unreachable(err)
	}
	cluster, err := f.kubernetes.cluster(f.removals == "all", log)
	if err != nil {
		return unreachable(err)
	}
	elsewhere, err := f.state.elsewhere(&f.etcd, &f.kubernetes, log)
	if err != nil {
		return unreachable(err)
	}
	data, err := openData(ctx, f.data, definitions, f.state.in, elsewhere, log)
	if err != nil {
		return err
	}
	defer data.Close()
	ls, err := listen(f)
	if err != nil {
		return err
	}
	defer ls.close()
	if err := f.secure.checkOpen(ls); err != nil {
		return misused(err)
	}
	guard.warn(&f.secure, ls)
	store, err := module.Open(data.path("modules"))
	if err != nil {
		return unreachable(fmt.Errorf("open the module store: %w", err))
	}
	if cluster != nil {
		f.origins.elsewhere = cluster.PullSecret
	}
	// Modules are tried while streams are drained, too.
	options, end, err := f.origins.options(context.WithoutCancel(ctx), store, folders, data.kept, data.own, log)
	if err != nil {
		return wrong(err)
	}
	defer end()
	profiles, endProfiles, err := f.origins.profiles(context.WithoutCancel(ctx), store, log)
	if err != nil {
		return wrong(err)
	}
	defer endProfiles()
	guard.others = data.problems
	options.Poll, options.Limit = f.poll, f.moduleLimit
	tracer, err := newTracer(ctx, log)
	if err != nil {
		return misused(err)
	}
	pairs, err := f.origins.keypairStore(ctx, folders, data.own, cluster, log)
	if err != nil {
		return wrong(err)
	}
	replicas, err := data.replicas(ctx, ls.peerAddress, log)
	if err != nil {
		return unreachable(err)
	}
	s, err := f.wire(ctx, parts{
		definitions: definitions, cluster: cluster, data: data, replicas: replicas, listeners: ls, guard: guard,
		modules: options, resources: resource.Options{ModulesURL: ls.modulesURL, Spares: spares, Signals: signals, RecordHeaders: strings.Join(recordHeaders, ",")},
		pairs: pairs, profiles: profiles, tracer: tracer, log: log, limited: limited,
	})
	if err != nil {
		return unreachable(err)
	}
	if err := s.run(ctx, f.addressesFile); err != nil {
		return unreachable(err)
	}
	return nil
}

// run serves until ctx ends and the streams are drained, or something fails.
func (s *server) run(ctx context.Context, addressesFile string) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, serving := errgroup.WithContext(serving)
	g.Go(func() error { return s.stages.Run(serving) })
	g.Go(func() error {
		return bounded.Serve(serving, overTLS(s.listeners.modules, s.guard.ads), s.stages.Modules,
			bounded.Options{Connections: s.shares.modules, Idle: modulesIdle, ConnContext: serve.ConnContext, Log: s.log})
	})
	g.Go(func() error {
		return bounded.Serve(serving, overTLS(s.listeners.admin, s.guard.admin), s.guard.adminHandler(s.listeners.admin, s.stages.Admin.Handler()),
			bounded.Options{Connections: s.shares.admin, Idle: adminIdle, Log: s.log})
	})
	if r := s.replicas; r != nil {
		g.Go(func() error { return r.Peers.Serve(serving, s.listeners.peer, s.shares.peers) })
		s.log.Info("other xds-servers of the state", "id", r.Peers.Registry.ID(), "listen", s.listeners.peer.Addr(), "reached at", s.listeners.peerAddress)
	}
	g.Go(func() error { return s.serveADS(ctx, serving, stop) })
	g.Go(func() error { s.rescanOnHangup(serving); return nil })
	g.Go(func() error { s.guard.run(serving, s.problems); return nil })
	g.Go(func() error { s.limited.Run(serving); return nil })
	g.Go(func() error { collect.Run(serving); return nil })
	if c := s.sources.conditions; c != nil {
		g.Go(func() error { c.Run(serving); return nil })
		g.Go(func() error { s.sources.changes.Run(serving); return nil })
	}
	s.log.Info("serving", "definitions", s.sources.places, "xds", s.listeners.xds.Addr(),
		"modules", s.listeners.modulesURL, "admin", scheme(s.guard.admin)+"://"+s.listeners.admin.Addr().String(), "version", buildVersion())
	s.log.Info("connections at once", "ads", s.shares.ads, "modules", s.shares.modules, "admin", s.shares.admin, "open files", openFiles())
	if addressesFile != "" {
		if err := s.listeners.write(addressesFile); err != nil {
			stop()
			return errors.Join(err, g.Wait())
		}
	}
	err := g.Wait()
	s.log.Info("ended")
	return err
}

// serveADS serves Envoys until ctx ends, and then for as long as they stay,
// but no longer than s.drain; then it stops all.
func (s *server) serveADS(ctx, serving context.Context, stop func()) error {
	ended := make(chan error, 1)
	go func() { ended <- s.ads.Serve(transport.NewListener(s.listeners.xds, s.shares.ads, s.log)) }()
	select {
	case <-ctx.Done():
	case <-serving.Done():
	case err := <-ended:
		return fmt.Errorf("serve ADS: %w", err)
	}
	s.log.Info("draining", "for", s.drain)
	notify(s.log, daemon.SdNotifyStopping)
	s.stages.Admin.Drain()
	s.stages.XDS.Drain()
	gone := make(chan struct{})
	go func() {
		s.ads.GracefulStop() // GOAWAY, and no new streams
		close(gone)
	}()
	draining, drained := context.WithTimeout(serving, s.drain)
	go func() { <-gone; drained() }()
	s.stages.Leave(draining, s.drain*2/3) // who has something under way has the rest
	<-draining.Done()
	stop() // xds.Server ends its streams
	wait(context.WithoutCancel(serving), gone, time.Second)
	s.ads.Stop()
	<-gone
	if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve ADS: %w", err)
	}
	return nil
}

// wait returns when ctx ends, when gone is closed, or after d.
func wait(ctx context.Context, gone <-chan struct{}, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-gone:
	case <-time.After(d):
	}
}

func (s *server) rescanOnHangup(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			s.log.Info("reading definitions, certificates and policy again, as SIGHUP asks")
			notify(s.log, reloading())
			s.guard.reload()
			if s.sources.rescan(ctx) != nil {
				return // it ends
			}
			notify(s.log, daemon.SdNotifyReady)
		}
	}
}

// newLog makes the log that flags ask for.
func newLog(out interface{ Write([]byte) (int, error) }, format, level string) (*limitedLog, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: must be debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return limitLog(slog.NewTextHandler(out, o)), nil
	case "json":
		return limitLog(slog.NewJSONHandler(out, o)), nil
	}
	return nil, fmt.Errorf("--log-format %s: must be text or json", format)
}
