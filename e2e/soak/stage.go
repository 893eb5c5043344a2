package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// patience is how long Envoys may take to what is wanted once all is mended.
const patience = 90 * time.Second

// The filters that each request must pass. Others come and go. With their
// listener they are enough to be held where all are taken away at once.
var lasting = []string{"one", "two", "three"}

// The network filter that each connection must pass.
const tap = "tap"

// stage is xds-server and all Envoys. One goroutine owns it.
type stage struct {
	log      *slog.Logger
	dir      string
	random   *rand.Rand
	happened map[string]int

	upstream *harness.Upstream
	echo     *harness.Echo
	server   *harness.Server
	modules  *harness.Proxy
	envoys   []*envoy
	played   []*fleet.Fleet

	revision int             // counts all that is written
	extra    map[string]bool // filters that are there beside the lasting ones
	routes   routes          // of the listener with requests
}

// envoy is a real one with requests to it.
type envoy struct {
	*harness.Envoy
	id  string
	xds *harness.Proxy

	loads map[string]*harness.Load // by prefix of the route

	connections *harness.TCP
	ended       harness.TCPCounts // of connections before it was killed
}

// newStage starts everything. What was started is ended by close, or with ctx
// where newStage fails.
func newStage(ctx context.Context, o options, log *slog.Logger, dir string) (*stage, error) {
	s := &stage{log: log, dir: dir, random: rand.New(rand.NewPCG(o.seed, 0)), happened: map[string]int{}, extra: map[string]bool{}}
	root, err := harness.Root()
	if err != nil {
		return nil, err
	}
	binaries, err := harness.Envoys(ctx, root)
	if err != nil {
		return nil, err
	}
	program, err := harness.BuildServer(ctx, root, dir)
	if err != nil {
		return nil, err
	}
	if s.upstream, err = harness.StartUpstream(); err != nil {
		return nil, err
	}
	if s.echo, err = harness.StartEcho(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.definitions(), 0o755); err != nil {
		return nil, err
	}
	db := fmt.Sprintf("kind: Listener\nname: db\naddress: 127.0.0.1:0\ntcp: {upstream: %q}\n", s.echo.Address())
	if err := errors.Join(s.write("db", db), s.mend()); err != nil {
		return nil, err
	}
	if s.modules, err = harness.StartProxy(""); err != nil {
		return nil, err
	}
	s.server, err = harness.StartServer(ctx, harness.ServerConfig{Program: program, Dir: dir, Definitions: s.definitions(),
		Data: filepath.Join(dir, "data"), Args: []string{"--module-root", dir, "--pprof", "--modules-url", "http://" + s.modules.Address()}})
	if err != nil {
		return nil, err
	}
	s.modules.Target(s.server.Addresses.Modules)
	for i := range o.envoys {
		// The newest with delta, the newest with state of the world, the
		// oldest with delta, ...
		binary := binaries[max(0, len(binaries)-1-i/2)]
		if err := s.startEnvoy(ctx, binary, fmt.Sprintf("real-%d", i), []string{"delta", "sotw"}[i%2]); err != nil {
			return nil, err
		}
	}
	return s, s.play(ctx, o.played)
}

func (s *stage) startEnvoy(ctx context.Context, binary harness.Binary, id, protocol string) error {
	xds, err := harness.StartProxy(s.server.Addresses.XDS)
	if err != nil {
		return err
	}
	bootstrap, err := s.server.Bootstrap(ctx, id, "--xds-address", xds.Address(), "--protocol", protocol)
	if err != nil {
		return err
	}
	started, err := harness.StartEnvoy(ctx, harness.EnvoyConfig{Binary: binary, Dir: filepath.Join(s.dir, id), Bootstrap: bootstrap})
	if err != nil {
		return err
	}
	e := &envoy{Envoy: started, id: id, xds: xds}
	address, err := e.address(ctx, "web")
	if err == nil {
		err = e.connect(ctx)
	}
	if err != nil {
		return err
	}
	e.loads = map[string]*harness.Load{}
	for _, prefix := range prefixes {
		e.loads[prefix] = harness.StartLoad(ctx, loadOf(prefix, address))
	}
	s.envoys = append(s.envoys, e)
	return nil
}

// play starts the played Envoys: of each protocol a half, of which one in ten
// connects again all the time and one in fifty reads nothing any more.
func (s *stage) play(ctx context.Context, n int) error {
	for i, delta := range []bool{true, false} {
		o := fleet.Options{Address: s.server.Addresses.XDS, Delta: delta, First: i * n, Clients: n / 2}
		o.Roles[fleet.Restless], o.Roles[fleet.Stalled] = n/20, n/100
		f, err := fleet.New(o)
		if err != nil {
			return err
		}
		f.Start(ctx)
		s.played = append(s.played, f)
	}
	return nil
}

// connect keeps connections open, and opens others, until disconnect.
func (e *envoy) connect(ctx context.Context) error {
	address, err := e.address(ctx, "db")
	if err == nil {
		e.connections = harness.StartTCP(ctx, harness.TCPConfig{Address: address, Kept: 3})
	}
	return err
}

func (e *envoy) disconnect() {
	e.ended = e.ended.Plus(e.connections.Stop())
	e.connections = nil
}

// address waits until the Envoy listens.
func (e *envoy) address(ctx context.Context, listener string) (address string, err error) {
	err = harness.Poll(ctx, patience, func() error {
		if err := e.Running(); err != nil {
			return err
		}
		if address, err = e.Listener(ctx, listener); err != nil {
			return err
		}
		return harness.Dial(address)
	})
	if err != nil {
		err = fmt.Errorf("%s has no listener %s: %w", e.id, listener, err)
	}
	return address, err
}

// close ends everything and tells what the requests met.
func (s *stage) close() error {
	for _, f := range s.played {
		f.Stop()
	}
	var errs []error
	for _, e := range s.envoys {
		for _, l := range e.loads {
			l.Stop()
		}
		if e.connections != nil {
			e.disconnect()
		}
		errs = append(errs, e.Running())
		e.Kill()
		errs = append(errs, e.xds.Close())
	}
	errs = append(errs, s.server.Running())
	s.server.Kill()
	errs = append(errs, s.modules.Close(), s.upstream.Close(), s.echo.Close())
	c := s.counted()
	s.log.Info("ended", "requests", c.Requests, "refused", c.Refused, "failed", c.Failed, "unfiltered", c.Unfiltered, "unwanted", c.Unwanted, "connections", s.connected(),
		"definitions written", s.revision, "happened", s.happened)
	return errors.Join(append(errs, s.bad())...)
}

// bad is an error when a request was refused, failed, passed unfiltered or met a
// filter that is off for it, or a response broke an invariant.
func (s *stage) bad() error {
	if err := s.server.Broken(); err != nil {
		return err
	}
	if c := s.counted(); c.Bad() > 0 {
		return errors.New(c.String())
	}
	if c := s.connected(); c.Bad() > 0 {
		return errors.New(c.String())
	}
	return nil
}

func (s *stage) definitions() string { return filepath.Join(s.dir, "definitions") }

// write puts a file into the directory in one step.
func (s *stage) write(name, content string) error {
	temporary := filepath.Join(s.dir, "temporary")
	if err := os.WriteFile(temporary, []byte(content), 0o644); err != nil {
		return err
	}
	s.revision++
	return os.Rename(temporary, filepath.Join(s.definitions(), name+".yaml"))
}

// other is a listener without requests. It has an address of its own: to one that comes
// Envoy gives the socket of another of the same address that is draining, where both leave
// the port to the system, too.
func (s *stage) other() string {
	return fmt.Sprintf("kind: Listener\nname: other\naddress: 127.0.0.2:0\nroutes:\n- {prefix: /, upstream: %q}\n", s.upstream.Address())
}

// filter is a definition. Its configuration is the revision, for the played
// Envoys.
func (s *stage) filter(name string, m wasmtest.Filter, lines string) (string, error) {
	m.Header = "x-" + name
	if slices.Contains(lasting, name) {
		// Its variants are told by their configuration, so what makes it another
		// module is what it logs.
		m.FromConfig, m.Log = true, m.Value
		if m.Fault == wasmtest.None {
			m.Fault, m.At = wasmtest.RejectSize, len(refused)
		}
	}
	if name == tap {
		m.Network, lines = true, lines+"place: network\nattach: {listeners: [db]}\n"
	}
	module := m.Module()
	file := harness.SHA256(module)[:16] + ".wasm"
	if err := os.WriteFile(filepath.Join(s.dir, file), module, 0o644); err != nil {
		return "", err
	}
	s.routes.wrote(name, fleet.Mark(s.revision+1))
	return fmt.Sprintf("kind: WasmFilter\nname: %s\nmodule: {url: ../%s}\nconfig: %q\n%s", name, file, fleet.Mark(s.revision+1), lines), nil
}

// unverified leaves it to Envoys to find out that a module does not start.
const unverified = "verify: abi\n"

// put writes a filter.
func (s *stage) put(name string, m wasmtest.Filter, lines string) error {
	text, err := s.filter(name, m, lines)
	if err != nil {
		return err
	}
	return s.write(name, text)
}

// mend writes all filters and routes anew, and good.
func (s *stage) mend() error {
	for _, name := range s.all() {
		if err := s.put(name, wasmtest.Filter{Value: strconv.Itoa(s.revision)}, ""); err != nil {
			return err
		}
	}
	return s.write("web", s.web())
}
