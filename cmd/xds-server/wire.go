package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/keypair"
	"wasmxds/module"
	"wasmxds/pipeline"
	"wasmxds/resource"
	"wasmxds/source"
	"wasmxds/source/kube"
	"wasmxds/trace"
	"wasmxds/try"
	"wasmxds/xds"
)

// server is all that serve runs, wired.
type server struct {
	log       *slog.Logger
	limited   *limitedLog // what log writes to
	drain     time.Duration
	listeners *listeners
	shares    shares
	guard     *guard
	problems  chan []definition.Problem // of the guard
	sources   sources
	stages    *pipeline.Pipeline
	replicas  *pipeline.Replicas // nil: the state is local
	ads       adsServer
}

// parts are what serve has opened, for the stages to be made of.
type parts struct {
	definitions string        // the directory; "": none
	cluster     *kube.Cluster // nil: no objects are read
	data        *dataDir
	replicas    *pipeline.Replicas // nil: the state is local
	listeners   *listeners
	guard       *guard
	modules     module.Options
	resources   resource.Options
	pairs       *keypair.Store
	profiles    *try.Profiles
	tracer      *trace.Tracer
	log         *slog.Logger
	limited     *limitedLog // what log writes to
}

// wire makes the stages, and joins them to what is listened at and what they read.
func (f *serveFlags) wire(ctx context.Context, p parts) (*server, error) {
	from, err := f.sources(p.definitions, p.cluster, p.log)
	if err != nil {
		return nil, err
	}
	s := &server{
		log: p.log, limited: p.limited, drain: f.drain, listeners: p.listeners, guard: p.guard,
		shares:   shareFiles(openFiles(), f.secure.connections, p.replicas != nil),
		problems: make(chan []definition.Problem), sources: from, replicas: p.replicas,
	}
	s.stages, err = pipeline.New(ctx, pipeline.Options{
		Source: &source.Join{
			Sources: s.sources.all, Objects: s.sources.objects(),
			State: p.data.kept, RemoveAll: f.removals == "all", Log: p.log,
		},
		Modules:   p.modules,
		AllowLogs: p.guard.admission.AllowLogs,
		Resources: p.resources,
		XDS: xds.Options{
			Log: p.log, State: p.data.kept, Own: p.data.own, CheckInvariants: f.checkInvariants, Respare: f.respare,
			Allow: p.guard.admission.Allow, AllowStatus: p.guard.admission.AllowStatus,
			MaxLogs: s.shares.logs(),
		},
		Admin: admin.Options{
			Version: buildVersion(), Start: f.start(p.definitions, p.listeners), Pprof: f.pprof, Profiles: p.profiles, Operators: p.guard.operators, Log: p.log,
			Sources: admin.Sources{Certificates: p.guard.expiries}, // pipeline adds the others
		},
		Pairs:    p.pairs,
		Replicas: p.replicas, Tracer: p.tracer, Guards: s.problems, Log: p.log,
		Ready: func() { notify(p.log, daemon.SdNotifyReady) },
	})
	if err != nil {
		return nil, err
	}
	if c := s.sources.conditions; c != nil {
		c.Told, s.sources.changes.Told = s.stages.Admin.Told, s.stages.Admin.Changes
		c.Leads, s.sources.changes.Leads = s.stages.Leads, s.stages.Leads
	}
	s.ads = p.guard.transport(f.transport, s.stages.XDS, p.log)
	return s, nil
}
