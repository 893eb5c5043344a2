package admin

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wasmxds/module"
	"wasmxds/module/serve"
	"wasmxds/rollout"
	"wasmxds/signal"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// Sources provide the values of /metrics, at each scrape. Any of them may be
// nil, and is then omitted.
type Sources struct {
	XDS       func() xds.Stats
	Downloads func() serve.Stats
	Store     func(context.Context) (modules int, bytes int64, err error)
	Signals   func() signal.Totals // nil: access logs are not received
	Unsaved   func() bool          // something that must outlive a restart can't be written
	// Certificates returns when those of the listeners expire, by file.
	Certificates func() map[string]time.Time
	// TurnedAway returns the clients that were denied a stream recently, for
	// the status. It may be nil.
	TurnedAway func() []xds.TurnedAway
	// Spread returns the number of streams on each server of the state, by its
	// id, and the number that each would have if all had the same. It is nil if
	// there is one server.
	Spread func() (streams map[string]int, share float64)
}

// metrics are the metrics that are maintained here, because nothing else counts
// them.
type metrics struct {
	fetches *prometheus.HistogramVec // by scheme and outcome
	dryRuns *prometheus.HistogramVec // by outcome
	primes  prometheus.Histogram
	swaps   prometheus.Histogram
	ends    *prometheus.CounterVec // of swaps, by outcome
	stops   *prometheus.CounterVec // of changes, by reason

	crashes      *prometheus.CounterVec // of VMs, by filter
	replacements prometheus.Counter
}

// untilACK are the buckets of the time from a change to an Envoy's ACK, in
// seconds.
var untilACK = []float64{.025, .05, .1, .2, .4, .8, 1.6, 3.2, 6.4, 15, 60, 300}

func newMetrics() *metrics {
	m := &metrics{
		fetches: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wasmxds_module_fetch_seconds", Help: "Duration of fetches of modules from their origins.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30, 60},
		}, []string{"scheme", "outcome"}),
		dryRuns: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wasmxds_module_dry_run_seconds", Help: "Duration of trial runs of modules, before any Envoy receives them.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10},
		}, []string{"outcome"}),
		primes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wasmxds_prime_seconds", Help: "Time from a change of a definition until a running Envoy has fetched, compiled and started the filter in its primer, for each filter and Envoy. Changes in waves are not included.",
			Buckets: untilACK,
		}),
		swaps: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wasmxds_swap_seconds", Help: "Time from a change of a definition until a running Envoy has ACKed the new filter in place of the old one, for each filter and Envoy. Changes in waves are not included.",
			Buckets: untilACK,
		}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wasmxds_swaps_total", Help: "Changes of filters on running Envoys, by outcome, for each filter and Envoy. An Envoy that rejected a filter or could not fetch it may still swap it later, and is then counted again.",
		}, []string{"outcome"}),
		crashes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wasmxds_vm_crashes_total", Help: "Wasm VMs that trapped while an Envoy handled requests, as reported by its access log.",
		}, []string{"filter"}),
		replacements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wasmxds_vm_replacements_total", Help: "Crashed Wasm VMs that have been replaced.",
		}),
		stops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wasmxds_rollout_stopped_total", Help: "Changes that were stopped, or paused if their policy says so, by reason. Reason hand: stopped by an operator.",
		}, []string{"reason"}),
	}
	for _, cause := range rollout.Causes() {
		m.stops.WithLabelValues(string(cause))
	}
	for _, end := range []swap.Stage{swap.ChangeSwapped, swap.ChangeRefused, swap.ChangeUnfetched, swap.ChangeSuperseded} {
		m.ends.WithLabelValues(string(end))
	}
	return m
}

// filters has a counter of crashes for each filter from the start: in one that
// appears with the first crash, Prometheus sees no increase. Those of filters that
// are gone end.
func (m *metrics) filters(before, now *Loaded) {
	if now.Set == nil {
		return
	}
	gone := map[string]bool{}
	if before != nil && before.Set != nil {
		for _, f := range before.Set.Filters {
			gone[f.Definition.Name] = true
		}
	}
	for _, f := range now.Set.Filters {
		delete(gone, f.Definition.Name)
		m.crashes.WithLabelValues(f.Definition.Name)
	}
	for name := range gone {
		m.crashes.DeleteLabelValues(name)
	}
}

// Observer returns an Observer that records fetches and dry runs.
func (s *Server) Observer() module.Observer {
	return module.Observer{
		Fetched: func(f module.Fetch) {
			s.metrics.fetches.WithLabelValues(f.Scheme, outcome(f.Err)).Observe(f.Took.Seconds())
		},
		DryRun: func(_ string, took time.Duration, err error) {
			s.metrics.dryRuns.WithLabelValues(outcome(err)).Observe(took.Seconds())
		},
	}
}

func outcome(err error) string {
	if err != nil {
		return "failed"
	}
	return "done"
}

// Swapped records a step in which filters on Envoys change versions.
func (s *Server) Swapped(w xds.Swap) {
	took := s.metrics.swaps
	switch w.Stage {
	case swap.ChangeCrashed:
		s.metrics.crashes.WithLabelValues(w.Filter).Inc()
		return
	case swap.ChangeReplaced:
		s.metrics.replacements.Inc()
		return
	case swap.ChangePrimed:
		took = s.metrics.primes
	default:
		s.metrics.ends.WithLabelValues(string(w.Stage)).Inc()
		if w.Stage != swap.ChangeSwapped {
			return
		}
	}
	for _, v := range s.history.of(w.Filter) {
		if v.Version == w.To {
			took.Observe(w.At.Sub(v.Changed).Seconds())
			return
		}
	}
}

// handleMetrics registers the handler of /metrics, in Prometheus text format or
// OpenMetrics.
func (s *Server) handleMetrics(mux *http.ServeMux) {
	r := s.registry()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: 20 * time.Second,
	}))
}

func (s *Server) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		s.metrics.fetches, s.metrics.dryRuns, s.metrics.primes, s.metrics.swaps, s.metrics.ends, s.metrics.stops, s.metrics.crashes, s.metrics.replacements,
		collector{s},
	)
	return r
}

// collector queries the Sources, the fleet and the definitions at each scrape.
type collector struct{ *Server }

// Describe sends nothing: the metrics depend on the sources.
func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	e := emit{out}
	e.gauge("wasmxds_build_info", "Always 1, with the version in labels.", 1, "version", c.opts.Version, "goversion", runtime.Version())
	c.definitions(e)
	c.fleet(e)
	if c.opts.Rollouts != nil {
		c.rollouts(e)
	}
	if c.opts.Sources.XDS != nil {
		streams(e, c.opts.Sources.XDS())
	}
	if c.opts.Sources.Downloads != nil {
		downloads(e, c.opts.Sources.Downloads())
	}
	if c.opts.Sources.Signals != nil {
		signals(e, c.opts.Sources.Signals())
	}
	if c.opts.Sources.Spread != nil {
		spread(e, c.opts.Sources.Spread)
	}
	if c.opts.Sources.Store != nil {
		c.store(e)
	}
	if c.opts.Sources.Certificates != nil {
		for file, end := range c.opts.Sources.Certificates() {
			e.gauge("wasmxds_certificate_expiry_timestamp_seconds", "Time at which a certificate of xds-server expires.", float64(end.Unix()), "file", file)
		}
	}
	if c.opts.Sources.Unsaved != nil {
		e.gauge("wasmxds_state_unsaved", "1 while something that must outlive a restart can't be written to the data directory, etcd or Kubernetes.", bit(c.opts.Sources.Unsaved()))
	}
}

func (c collector) definitions(e emit) {
	st := c.statusOf(c.own)
	d := st.Definitions
	e.gauge("wasmxds_ready", "1 from when a complete set of definitions is served until draining begins.", bit(c.ready() && !c.draining.Load()))
	e.gauge("wasmxds_definitions", "Definitions in force.", float64(d.Loaded))
	e.gauge("wasmxds_definition_files", "Files with definitions.", float64(d.Files))
	e.gauge("wasmxds_definition_errors", "Errors in definitions, including those of their modules.", float64(len(d.Errors)))
	e.gauge("wasmxds_definition_warnings", "Warnings in definitions.", float64(len(d.Warnings)))
	held := 0
	if d.Held != nil {
		held = d.Held.Definitions
	}
	e.gauge("wasmxds_definitions_held", "Definitions whose removal is held back because too many would be removed at once.", float64(held))
	if !d.Changed.IsZero() {
		e.gauge("wasmxds_definitions_changed_timestamp_seconds", "Time of the most recent change.", float64(d.Changed.UnixMilli())/1e3)
	}
	for _, f := range st.Filters {
		for _, state := range []module.State{module.Good, module.Fetching, module.Failed} {
			e.gauge("wasmxds_filter_module", "1 for the current state of the module or script of a filter.",
				bit(f.State == state), "filter", f.Name, "state", string(state))
		}
		e.gauge("wasmxds_filter_envoys", envoysHelp, float64(f.Running), "filter", f.Name, "state", "running")
		e.gauge("wasmxds_filter_envoys", envoysHelp, float64(f.Pending), "filter", f.Name, "state", "pending")
		e.gauge("wasmxds_filter_envoys", envoysHelp, float64(f.Failed), "filter", f.Name, "state", "failed")
	}
}

const envoysHelp = "Connected Envoys that a filter applies to, by the state of its current version."

func (c collector) fleet(e emit) {
	o := c.overviewOf(c.own)
	for _, state := range []swap.State{swap.Running, swap.Fetching, swap.Waiting, swap.Failed} {
		e.gauge("wasmxds_envoys", "Connected Envoys, by the state of the filter that is furthest behind.", float64(o.States[state]), "state", string(state))
	}
	e.gauge("wasmxds_envoys_away", "Envoys that disconnected within the last hour.", float64(o.States[swap.Away]+o.States[Gone]))
	e.gauge("wasmxds_envoys_draining", "Connected Envoys that still drain connections of a replaced listener.", float64(o.Status.Envoys.Draining))
}

func streams(e emit, s xds.Stats) {
	e.gauge("wasmxds_xds_streams", "Open ADS streams.", float64(s.Streams))
	e.counter("wasmxds_xds_streams_moved_total", "ADS streams closed to move their Envoys to another replica.", s.Moved)
	e.counter("wasmxds_xds_turned_away_total", "Clients that were denied an ADS stream by TLS, the client policy or a limit.", s.Turned)
	e.counter("wasmxds_xds_requests_total", "Requests on ADS streams, including ACKs and NACKs.", s.Requests)
	e.counter("wasmxds_xds_sent_bytes_total", "Bytes of responses on ADS streams.", s.Bytes)
	for kind, n := range s.Responses {
		e.counter("wasmxds_xds_responses_total", "Responses on ADS streams.", n, "type", kind)
	}
	for kind, n := range s.NACKs {
		e.counter("wasmxds_xds_nacks_total", "Responses that Envoys rejected. Each new module causes one for ECDS, by which Envoy announces that it fetches the module.", n, "type", kind)
	}
}

func signals(e emit, t signal.Totals) {
	e.gauge("wasmxds_access_log_streams", "Open access log streams of Envoys.", float64(t.Streams))
	const name, help = "wasmxds_access_log_entries_total", "Entries of Envoys' access logs: crashes, samples that were used, samples of Envoys that are not being compared, entries beyond the limit, and entries for another Envoy."
	e.counter(name, help, t.Alarms, "taken", "crash")
	e.counter(name, help, t.Samples, "taken", "sample")
	e.counter(name, help, t.Unwatched, "taken", "unwatched")
	e.counter(name, help, t.Dropped, "taken", "dropped")
	e.counter(name, help, t.Foreign, "taken", "foreign")
}

func spread(e emit, count func() (map[string]int, float64)) {
	streams, share := count()
	for id, n := range streams {
		e.gauge("wasmxds_replica_streams", "ADS streams of each replica, as last reported.", float64(n), "replica", id)
	}
	e.gauge("wasmxds_replica_streams_share", "ADS streams for each replica if they were distributed evenly.", share)
}

func downloads(e emit, s serve.Stats) {
	e.gauge("wasmxds_module_downloads_open", "Module downloads by Envoys in progress.", float64(s.Open))
	e.gauge("wasmxds_module_downloads_waiting", "Module downloads by Envoys that are waiting.", float64(s.Waiting))
	e.counter("wasmxds_module_sent_bytes_total", "Bytes of modules sent to Envoys.", s.Bytes)
	const name, help = "wasmxds_module_downloads_total", "Module downloads by Envoys, by outcome."
	e.counter(name, help, s.Done, "outcome", "done")
	e.counter(name, help, s.Aborted, "outcome", "aborted")
	e.counter(name, help, s.NotFound, "outcome", "not_found")
	e.counter(name, help, s.Refused, "outcome", "refused")
}

func (c collector) store(e emit) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	modules, size, err := c.opts.Sources.Store(ctx)
	if err != nil {
		c.opts.Log.Warn("size of the store not known", "error", err)
		return
	}
	e.gauge("wasmxds_store_modules", "Modules in the store.", float64(modules))
	e.gauge("wasmxds_store_bytes", "Bytes of modules in the store.", float64(size))
}

// emit sends single values. Labels are alternating names and values.
type emit struct{ out chan<- prometheus.Metric }

func (e emit) gauge(name, help string, v float64, labels ...string) {
	e.send(prometheus.GaugeValue, name, help, v, labels)
}

func (e emit) counter(name, help string, v int64, labels ...string) {
	e.send(prometheus.CounterValue, name, help, float64(v), labels)
}

func (e emit) send(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
	if err != nil { // a label that is not UTF-8
		m = prometheus.NewInvalidMetric(prometheus.NewDesc(name, help, names, nil), err)
	}
	e.out <- m
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
