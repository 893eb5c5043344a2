package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wasmxds/bench/fleet"
)

// run is one server with one number of clients.
type run struct {
	Server  string `json:"server"`
	Clients int    `json:"clients"`
	Delta   bool   `json:"delta"`
	TLS     bool   `json:"tls"`

	keys *keys
}

func (r run) protocol() string {
	if r.Delta {
		return "delta"
	}
	return "sotw"
}

func (r run) String() string {
	s := fmt.Sprintf("%s %s %d", r.Server, r.protocol(), r.Clients)
	if r.TLS {
		s += " TLS"
	}
	return s
}

// Figures are what was measured of a scene. Times are seconds from the moment
// the file began to be written, or the reference server was told, until a
// client has acknowledged; of several rounds each is the median. CPU is the
// server's, in microseconds a round and client.
type Figures struct {
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	Max       float64 `json:"max"`
	CPU       float64 `json:"cpu"`
	ClientCPU float64 `json:"clientCPU"` // the load generator's, likewise
	Responses float64 `json:"responses"` // a round and client
	Bytes     float64 `json:"bytes"`     // sent on streams, a round and client

	Refused    int64 `json:"refused,omitempty"`   // responses, in all rounds
	Fetches    int64 `json:"fetches,omitempty"`   // downloads of modules, in all rounds
	Refetches  int64 `json:"refetches,omitempty"` // of them: while the same was under way
	Failed     int64 `json:"failed,omitempty"`    // of them
	Downloaded int64 `json:"downloaded,omitempty"`
}

// Result is all that was measured in a run.
type Result struct {
	run
	Memory float64             `json:"memory"` // resident bytes a connection, after the pushes of "one"
	Idle   float64             `json:"idle"`   // resident bytes before any connection
	Scenes map[string]*Figures `json:"scenes"`

	// RefusingPushes is how many responses with filters came to an Envoy that
	// refuses every change, in the whole run.
	RefusingPushes float64 `json:"refusingPushes,omitempty"`
}

// The scenes, in their order.
const (
	sceneStorm  = "storm"     // all connect at once and get everything
	sceneOne    = "one"       // one of the filters changes
	sceneAll    = "all"       // all of them change
	sceneAgain  = "reconnect" // all connections are cut while one filter changes
	sceneModule = "module"    // one filter gets another module, of 1 KB
	sceneBig    = "bigmodule" // likewise, of 200 KB
	sceneRoute  = "route"     // a route has a filter with another configuration each time
)

var sceneNames = []string{sceneStorm, sceneOne, sceneAll, sceneAgain, sceneModule, sceneBig, sceneRoute}

// stage is a subject with its fleet.
type stage struct {
	run
	options
	subject  *subject
	fleet    *fleet.Fleet
	revision int
	result   *Result
}

// play measures one run in a directory of its own.
func play(ctx context.Context, r run, o options, begin startFunc, dir string) (*Result, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s, err := begin(ctx, r, dir)
	if err != nil {
		return nil, err
	}
	fo := fleet.Options{Address: s.address, Delta: r.Delta, TLS: r.tlsConfig(), Clients: r.Clients, Node: o.node, RefuseAbove: 1}
	for i, role := range []fleet.Role{fleet.Stalled, fleet.Refusing, fleet.Restless} {
		fo.Roles[role] = r.Clients * o.mix[i] / 100
	}
	f, err := fleet.New(fo)
	if err != nil {
		_ = s.stop()
		return nil, err
	}
	st := &stage{run: r, options: o, subject: s, fleet: f, revision: 1, result: &Result{run: r, Scenes: map[string]*Figures{}}}
	err = st.play(ctx)
	if err != nil && s.admin != "" { // what the server thinks of it
		err = errors.Join(err, save(context.WithoutCancel(ctx), "http://"+s.admin+"/api/v1/status?limit=1000000", filepath.Join(o.out, "stuck.json")))
	}
	f.Stop()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, strings.Join(f.Lacking(3), "\n"))
	}
	if n := fo.Roles[fleet.Refusing]; n > 0 {
		st.result.RefusingPushes = float64(f.Pushes(fleet.Refusing)) / float64(n)
	}
	if ended := s.stop(); err == nil {
		err = ended
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", r, err)
	}
	return st.result, nil
}

func (r run) tlsConfig() *tls.Config {
	if !r.TLS {
		return nil
	}
	return r.keys.client
}

func (st *stage) play(ctx context.Context) error {
	rest(ctx, st.quiet)
	idle, err := st.subject.process.resident()
	if err != nil {
		return err
	}
	st.result.Idle = float64(idle)
	for _, s := range st.scenes() {
		if err := s.play(ctx); err != nil || s.name == st.last {
			return err
		}
	}
	return nil
}

// played is a scene, and what plays it.
type played struct {
	name string
	play func(context.Context) error
}

// scenes are those that the subject can play, in their order.
func (st *stage) scenes() []played {
	all := []played{
		{sceneStorm, st.storm},
		{sceneOne, st.one},
		{sceneAll, func(ctx context.Context) error {
			return st.scene(ctx, sceneAll, (st.rounds+1)/2, func(int) (*fleet.Goal, error) {
				return st.changes(allFilters(), st.subject.change)
			})
		}},
		{sceneAgain, func(ctx context.Context) error {
			return st.processor(ctx, sceneAgain, func() error {
				return st.scene(ctx, sceneAgain, 1, func(int) (*fleet.Goal, error) {
					st.fleet.Cut()
					return st.changes([]int{3}, st.subject.change)
				})
			})
		}},
	}
	switch {
	case st.subject.change == nil:
		return all[:1]
	case st.subject.module == nil:
		return all
	}
	return append(all,
		played{sceneModule, func(ctx context.Context) error {
			return st.processor(ctx, sceneModule, func() error {
				return st.scene(ctx, sceneModule, 1, func(int) (*fleet.Goal, error) { return st.modules(1 << 10) })
			})
		}},
		played{sceneBig, func(ctx context.Context) error {
			return st.scene(ctx, sceneBig, 1, func(int) (*fleet.Goal, error) { return st.modules(200 << 10) })
		}},
		played{sceneRoute, func(ctx context.Context) error {
			return st.scene(ctx, sceneRoute, st.rounds, func(int) (*fleet.Goal, error) { return st.routes() })
		}})
}

// storm has all Envoys connect.
func (st *stage) storm(ctx context.Context) error {
	started := false
	err := st.processor(ctx, sceneStorm, func() error {
		return st.scene(ctx, sceneStorm, 1, func(int) (*fleet.Goal, error) {
			g := st.fleet.Watch(1, namesOf(allFilters())...)
			st.fleet.Start(ctx)
			started = true
			return g, nil
		})
	})
	if !started {
		st.fleet.Start(ctx) // so that there is something to stop
	}
	return err
}

// one changes one filter, and measures the memory afterwards.
func (st *stage) one(ctx context.Context) error {
	if err := st.scene(ctx, sceneOne, st.rounds, func(round int) (*fleet.Goal, error) {
		return st.changes([]int{round % filters}, st.subject.change)
	}); err != nil {
		return err
	}
	rest(ctx, st.quiet)
	after, err := st.subject.process.resident()
	if err != nil {
		return err
	}
	st.result.Memory = (float64(after) - st.result.Idle) / float64(st.Clients)
	return st.profile(ctx)
}

// routes gives a filter another configuration on one route: a variant that is primed, and
// routes that switch to it.
func (st *stage) routes() (*fleet.Goal, error) {
	st.revision++
	g := st.fleet.WatchRoutes(st.revision, []fleet.RouteGoal{{Prefix: routePrefix, Filter: filterName(routeFilter), Treatment: fleet.Variant}})
	return g, st.subject.route(st.revision)
}

// modules makes the first filter's module another one, and its configuration,
// by which that is seen.
func (st *stage) modules(size int) (*fleet.Goal, error) {
	return st.changes([]int{0}, func(revision int, _ []int) error { return st.subject.module(revision, size) })
}

// changes makes the next revision and watches for it.
func (st *stage) changes(which []int, change func(revision int, filters []int) error) (*fleet.Goal, error) {
	st.revision++
	g := st.fleet.Watch(st.revision, namesOf(which)...)
	return g, change(st.revision, which)
}

// scene measures rounds of the same thing.
func (st *stage) scene(ctx context.Context, name string, rounds int, begin func(round int) (*fleet.Goal, error)) error {
	f := &Figures{}
	var p50, p99, last []time.Duration
	rest(ctx, st.quiet)
	before, err := st.meter()
	if err != nil {
		return err
	}
	for round := range rounds {
		g, err := begin(round)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		limited, cancel := context.WithTimeout(ctx, st.patience)
		times, err := g.Wait(limited)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p50, p99, last = append(p50, quantile(times, 0.5)), append(p99, quantile(times, 0.99)), append(last, times[len(times)-1])
		rest(ctx, st.pause)
	}
	rest(ctx, st.quiet) // what it does afterwards belongs to it
	after, err := st.meter()
	if err != nil {
		return err
	}
	each := float64(rounds * st.Clients)
	f.P50, f.P99, f.Max = median(p50), median(p99), median(last)
	f.CPU = float64((after.server - before.server).Nanoseconds()) / 1e3 / each
	f.ClientCPU = float64((after.client - before.client).Nanoseconds()) / 1e3 / each
	a, b := after.counts, before.counts
	f.Responses = float64(a.Responses-b.Responses) / each
	f.Bytes = float64(a.Bytes-b.Bytes) / each
	f.Refused, f.Fetches, f.Refetches = a.Refused-b.Refused, a.Fetches-b.Fetches, a.Refetches-b.Refetches
	f.Failed, f.Downloaded = a.Failed-b.Failed, a.Downloaded-b.Downloaded
	st.result.Scenes[name] = f
	return nil
}

// meter is a look at all that is counted.
type meter struct {
	server, client time.Duration
	counts         fleet.Counts
}

func (st *stage) meter() (m meter, err error) {
	m.counts = st.fleet.Counts()
	m.client = ownCPU()
	m.server, err = st.subject.process.cpu()
	return m, err
}

// profile keeps profiles of the server: its heap and goroutines, and its
// processor time while one filter changes again and again.
func (st *stage) profile(ctx context.Context) error {
	if !st.profiles || st.subject.admin == "" {
		return nil
	}
	for _, kind := range []string{"heap", "goroutine"} {
		if err := st.save(ctx, kind, kind); err != nil {
			return err
		}
	}
	return st.processor(ctx, "changes", func() error {
		for end := time.Now().Add(profileTime); time.Now().Before(end); {
			g, err := st.changes([]int{7}, st.subject.change)
			if err != nil {
				return err
			}
			if _, err := g.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// profileTime is how long a profile of processor time takes.
const profileTime = 5 * time.Second

// processor keeps a profile of the server's processor time from the beginning
// of f on, where profiles are asked for.
func (st *stage) processor(ctx context.Context, name string, f func() error) error {
	if !st.profiles || st.subject.admin == "" {
		return f()
	}
	saved := make(chan error, 1)
	go func() {
		saved <- st.save(ctx, fmt.Sprintf("profile?seconds=%.0f", profileTime.Seconds()), name)
	}()
	rest(ctx, 100*time.Millisecond) // until it has begun
	err := f()
	return errors.Join(err, <-saved)
}

func (st *stage) save(ctx context.Context, what, name string) error {
	file := fmt.Sprintf("%s-%s.pprof", strings.ReplaceAll(st.String(), " ", "-"), name)
	return save(ctx, "http://"+st.subject.admin+"/debug/pprof/"+what, filepath.Join(st.out, file))
}

// rest waits.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// quantile is of sorted times.
func quantile(times []time.Duration, q float64) time.Duration {
	return times[int(q*float64(len(times)-1)+0.5)]
}

func median(d []time.Duration) float64 {
	d = slices.Sorted(slices.Values(d))
	return quantile(d, 0.5).Seconds()
}
