// Package pipeline joins the stages: it passes definitions with their modules
// to the Envoys, and the results to the admin server and to traces.
//
// Start with [New]. [Pipeline.Run] owns all goroutines of the stages. The
// caller serves HTTP and the streams of Envoys, by [Pipeline.Modules],
// [Pipeline.Admin] and [Pipeline.XDS].
package pipeline

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/keypair"
	"wasmxds/module"
	modulepeer "wasmxds/module/peer"
	"wasmxds/module/serve"
	"wasmxds/queue"
	"wasmxds/replica"
	"wasmxds/replica/envoys"
	"wasmxds/resource"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/judge"
	"wasmxds/signal"
	"wasmxds/signal/recording"
	"wasmxds/signal/relay"
	"wasmxds/source"
	"wasmxds/trace"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// Options are the options of the stages. New sets what connects the stages.
type Options struct {
	Source    *source.Join
	Modules   module.Options
	Resources resource.Options
	XDS       xds.Options
	Admin     admin.Options
	Replicas  *Replicas     // nil: no other server shares the state
	Tracer    *trace.Tracer // nil: none
	// Pairs provides the certificates of listeners with TLS. If it is nil, no
	// listener can have TLS.
	Pairs *keypair.Store
	// AllowLogs decides whether a stream may send the access logs of a node. If
	// it is nil, every stream may.
	AllowLogs func(ctx context.Context, n definition.Node) error
	// Guards receives problems with certificates and the policy. It may be nil.
	Guards <-chan []definition.Problem
	Ready  func() // called once, when the first set is published
	Log    *slog.Logger
}

// Pipeline has all stages.
type Pipeline struct {
	Modules *serve.Server
	XDS     *xds.Server
	Admin   *admin.Server

	signals  *signal.Receiver // nil: listeners have no loggers
	resolver *module.Resolver
	rollouts *driver.Driver
	judge    *judge.Judge
	heard    *relay.Leader   // reports of watched Envoys, while this server leads
	follower *relay.Follower // the same, while another server leads
	sampler  *sampler
	rates    *rates
	recorder recording.Recorder
	recorded recordings
	hearing  *hearing           // nil: there are no other servers
	others   *others            // nil: there are no other servers
	envoys   *envoys.All        // nil: there are no other servers
	streams  *replica.Streams   // nil: there are no other servers
	modules  *modulepeer.Client // nil: there are no other servers
	judges   judges
	plans    chan *rollout.Plan
	ended    chan struct{} // closed when plans are no longer received
	tracer   *trace.Tracer
	// swaps are steps of changes on Envoys. The goroutine that publishes takes
	// them: an Envoy may swap before everything that counts it knows the
	// change, and the goroutine of an Envoy counts nothing itself.
	swaps   *queue.Queue[xds.Swaps]
	news    *news
	options Options
}

// Pauses between the processing of bursts of events, of which a fleet has many when a change
// reaches it.
const (
	eventsRest = 10 * time.Millisecond  // of Envoys, by which waves are judged
	swapsRest  = 100 * time.Millisecond // of swaps, which are counted
)

// New returns a Pipeline. It returns an error if the stored changes can't be
// read.
func New(ctx context.Context, o Options) (*Pipeline, error) {
	p := &Pipeline{tracer: o.Tracer, swaps: queue.New[xds.Swaps](swapsRest), news: newNews(), plans: make(chan *rollout.Plan), ended: make(chan struct{}), options: o}
	p.hears()
	p.judges = newJudges(o.Modules.Policy)
	var err error
	if p.rollouts, err = p.newDriver(ctx); err != nil {
		return nil, err
	}
	o.XDS.Resources, o.XDS.Swapped, o.XDS.Observe = o.Resources, p.swapped, p.observed
	if o.Resources.Signals != "" {
		p.signals = signal.NewReceiver(p.receiving())
		o.XDS.Logs = p.logs
	}
	if o.Replicas != nil {
		o.XDS.Shared = o.Replicas.Copy
	}
	p.XDS = xds.New(o.XDS)
	for _, n := range p.XDS.Awaited() {
		p.rollouts.Tell(rollout.Expected{Node: n})
	}
	store := o.Modules.Store
	p.Modules = serve.New(serve.Options{
		Store: store, Logger: o.Log, Missing: p.missing,
		OnDownload: func(peer netip.Addr, sha256 string, size int64, event serve.Event) {
			p.downloaded(download{peer, sha256, size, progressOf(event)})
		},
	})
	o.Admin.Modules, o.Admin.Release = store, o.Source.Release
	o.Admin.Rollouts = mover{p.rollouts, p.judge}
	o.Admin.Sources = admin.Sources{XDS: p.XDS.Stats, TurnedAway: p.XDS.TurnedAway, Downloads: p.Modules.Stats, Store: store.Size,
		Certificates: o.Admin.Sources.Certificates,
		Unsaved:      func() bool { return o.XDS.State.Failing().Err != nil || o.XDS.Own.Failing().Err != nil }}
	if r := o.Replicas; r != nil {
		r.Peers.Moves(peer{driver.Here{Driver: p.rollouts}, p.judge})
		p.meet(r.Peers)
		p.recordsFor(r.Peers)
		p.envoys = envoys.New(p.XDS, r.Peers)
		o.Admin.Own, o.Admin.Replicas = p.XDS, p.replicas
		p.spreads(r.Peers)
		o.Admin.Sources.Spread = p.streams.Count
	}
	if p.signals != nil {
		o.Admin.Sources.Signals = p.signals.Totals
		o.Admin.Recorder = p
	}
	o.Admin.Fleet = p.fleet()
	p.Admin = admin.New(o.Admin)
	modules := &p.options.Modules
	modules.Needed, modules.Used, modules.InForce = p.needed, p.XDS.ServiceModules, p.rollouts.Began()
	modules.Observer = observe(o.Tracer, p.Admin.Observer())
	if r := o.Replicas; r != nil {
		modules.Shared = r.Copy
		p.sharesModules(r.Peers)
	}
	p.resolver = module.New(*modules)
	return p, nil
}

func progressOf(event serve.Event) swap.Progress {
	switch event {
	case serve.Started:
		return swap.DownloadStarted
	case serve.Done:
		return swap.DownloadDone
	}
	return swap.DownloadAborted
}

// Run runs all stages until ctx ends, or one of them fails.
func (p *Pipeline) Run(ctx context.Context) error {
	tracing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var traces errgroup.Group
	traces.Go(func() error { return p.tracer.Run(tracing) })
	g, ctx := errgroup.WithContext(ctx)
	in := inputs{
		updates: make(chan source.Update), sets: make(chan *module.Set),
		plans: p.plans, swaps: p.swaps, guards: p.options.Guards, pairs: make(chan struct{}),
	}
	if pairs := p.options.Pairs; pairs != nil {
		g.Go(func() error { return pairs.Run(ctx, func() { send(ctx, in.pairs, struct{}{}) }) })
	}
	wanted := make(chan *definition.Set)
	g.Go(func() error {
		return p.options.Source.Run(ctx, func(u source.Update) {
			send(ctx, in.updates, u)
			if u.Set != nil {
				send(ctx, wanted, u.Set)
			}
		})
	})
	g.Go(func() error {
		return p.resolver.Run(ctx, wanted, func(set *module.Set) { send(ctx, in.sets, set) })
	})
	if r := p.options.Replicas; r != nil {
		g.Go(func() error { r.Peers.Registry.Run(ctx); return nil })
		g.Go(func() error { p.envoys.Run(ctx); return nil })
		g.Go(func() error { p.streams.Run(ctx); return nil })
		g.Go(func() error { p.others.run(ctx); return nil })
		g.Go(func() error { p.hearing.run(ctx); return nil })
	}
	g.Go(func() error { p.sampler.run(ctx); return nil })
	g.Go(func() error { p.news.run(ctx, p.tracer, p.rollouts.Status); return nil })
	g.Go(func() error {
		defer p.judges.end()
		p.rollouts.Run(ctx)
		return nil
	})
	g.Go(func() error { return p.XDS.Run(ctx) })
	g.Go(func() error {
		defer close(p.ended)
		p.join().run(ctx, in)
		return nil
	})
	err := g.Wait()
	p.recorded.stop()
	stop() // all events so far are in the traces
	if failed := traces.Wait(); err == nil {
		err = failed
	}
	return err
}

// send blocks until v is received, or ctx ends.
func send[T any](ctx context.Context, to chan<- T, v T) {
	select {
	case to <- v:
	case <-ctx.Done():
	}
}

func (p *Pipeline) join() *join {
	return &join{
		options: p.options.Resources, pairs: p.options.Pairs, log: p.options.Log, ready: p.ready,
		want:    func(set *module.Set) { p.rollouts.Tell(rollout.Wanted{Set: set}) },
		publish: p.XDS.Publish, loaded: p.Admin.Loaded, tracer: p.tracer,
		swapped: func(w xds.Swap) {
			traceSwap(p.tracer, w)
			p.Admin.Swapped(w)
		},
	}
}
