package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// patience is how long a scene waits for what should take milliseconds; the
// machine may be busy with other things. It is waited for so long only where a
// scene fails.
const patience = time.Minute

// fleet is an xds-server with a directory of definitions, an upstream, and
// whatever Envoys the scene starts.
type fleet struct {
	t           *testing.T
	ctx         context.Context // until the whole test has ended, cleanups included
	dir         string
	definitions string
	server      *harness.Server
	upstream    *harness.Upstream
	modules     int    // written so far
	program     string // xds-server, of which servers are started from now on
}

// newFleet prepares all but the server.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	f := &fleet{t: t, ctx: ctx, dir: dir, definitions: filepath.Join(dir, "definitions"), program: xdsServer}
	must(t, os.Mkdir(f.definitions, 0o755))
	var err error
	f.upstream, err = harness.StartUpstream()
	must(t, err)
	t.Cleanup(func() { must(t, f.upstream.Close()) })
	return f
}

// serve starts xds-server.
func (f *fleet) serve(args ...string) {
	f.t.Helper()
	f.server = f.serveIn(f.dir, args...)
}

// serveIn starts an xds-server whose log and data are in a folder.
func (f *fleet) serveIn(dir string, args ...string) *harness.Server {
	f.t.Helper()
	server, err := harness.StartServer(f.ctx, harness.ServerConfig{
		Program: f.program, Dir: dir, Definitions: f.definitions,
		Data: filepath.Join(dir, "data"), Args: append([]string{"--module-root", f.dir, "--log-level", "debug", "--transport", *transport}, args...)})
	must(f.t, err)
	f.t.Cleanup(func() {
		server.Kill()
		if err := server.Broken(); err != nil {
			f.t.Error(err)
		}
		f.showLog(server.Log())
	})
	return server
}

// restartServer kills the server as kill -9 does and starts it again.
func (f *fleet) restartServer() {
	f.t.Helper()
	f.server.Kill()
	must(f.t, f.server.Start(f.ctx))
}

// showLog prints the end of a log when the test has failed.
func (f *fleet) showLog(path string) {
	if !f.t.Failed() {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.t.Log(err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	f.t.Logf("the end of %s:\n%s", filepath.Base(path), strings.Join(lines[max(0, len(lines)-60):], "\n"))
}

// write puts a file into the directory in one step, as editors do, and returns
// when that was.
func (f *fleet) write(name, content string) time.Time {
	f.t.Helper()
	path := filepath.Join(f.definitions, name)
	temporary := filepath.Join(f.dir, "temporary")
	must(f.t, os.WriteFile(temporary, []byte(content), 0o644))
	must(f.t, os.Rename(temporary, path))
	return time.Now()
}

func (f *fleet) remove(name string) {
	f.t.Helper()
	must(f.t, os.Remove(filepath.Join(f.definitions, name)))
}

// module writes a module beside the definitions and returns its relative URL.
// No two have the same name.
func (f *fleet) module(m wasmtest.Filter) string {
	f.t.Helper()
	f.modules++
	name := fmt.Sprintf("module-%d.wasm", f.modules)
	must(f.t, os.WriteFile(filepath.Join(f.dir, name), m.Module(), 0o644))
	return "../" + name
}

// moduleURL writes a module and returns its URL for definitions that are in no directory.
func (f *fleet) moduleURL(m wasmtest.Filter) string {
	f.t.Helper()
	return "file://" + filepath.Join(f.dir, filepath.Base(f.module(m)))
}

// listener is a definition of a listener before the upstream, with further
// routes before the one that takes all.
func (f *fleet) listener(name string, routes ...string) string {
	return fmt.Sprintf("kind: Listener\nname: %s\naddress: 127.0.0.1:0\nroutes:\n%s- {prefix: /, upstream: %q}\n",
		name, joined(routes), f.upstream.Address())
}

// filter is a definition of a filter.
func filter(name, url string, lines ...string) string {
	return fmt.Sprintf("kind: WasmFilter\nname: %s\nmodule: {url: %q}\n%s", name, url, joined(lines))
}

// hello writes a new version of the filter "hello", which adds its value as x-hello.
func (f *fleet) hello(value string) time.Time {
	f.t.Helper()
	return f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: value})))
}

func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// edge is an Envoy of a fleet.
type edge struct {
	*harness.Envoy
	f  *fleet
	id string
}

// envoy starts an Envoy with the bootstrap that xds-server writes for it.
func (f *fleet) envoy(c combination, id string, args ...string) *edge {
	f.t.Helper()
	bootstrap, err := f.server.Bootstrap(f.ctx, id, append([]string{"--protocol", c.protocol}, args...)...)
	must(f.t, err)
	return f.envoyWith(c, id, bootstrap)
}

func (f *fleet) envoyWith(c combination, id string, bootstrap []byte) *edge {
	f.t.Helper()
	return f.envoyOf(id, harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap})
}

func (f *fleet) envoyOf(id string, config harness.EnvoyConfig) *edge {
	f.t.Helper()
	config.Dir = filepath.Join(f.dir, id)
	envoy, err := harness.StartEnvoy(f.ctx, config)
	must(f.t, err)
	f.t.Cleanup(func() {
		if err := envoy.Running(); err != nil {
			f.t.Error(err)
		}
		envoy.Kill()
		f.showLog(envoy.Log())
	})
	return &edge{Envoy: envoy, f: f, id: id}
}

// ready waits until the Envoy is.
func (e *edge) ready() {
	e.f.t.Helper()
	e.f.eventually(func() error { return e.Ready(e.f.t.Context()) })
}

// address waits until a listener is bound and returns its address.
func (e *edge) address(listener string) string {
	e.f.t.Helper()
	var address string
	e.f.eventually(func() (err error) {
		if err := e.Running(); err != nil {
			return err
		}
		if address, err = e.Listener(e.f.t.Context(), listener); err != nil {
			return err
		}
		return harness.Dial(address) // it is listed a moment before it listens
	})
	return address
}

// load sends requests to a listener until the test ends; each must reach the
// upstream with the headers.
func (e *edge) load(listener string, headers ...string) *harness.Load {
	e.f.t.Helper()
	l := harness.StartLoad(e.f.ctx, harness.LoadConfig{Address: e.address(listener), Headers: headers})
	e.f.t.Cleanup(func() { l.Stop() })
	return l
}

// runs waits until the status says that the Envoy runs the filter as it is
// wanted.
func (e *edge) runs(filter string) harness.FilterStatus {
	e.f.t.Helper()
	return e.state(filter, "running")
}

// state waits until the status has the filter of this Envoy in a state. The
// state running means: what is wanted.
func (e *edge) state(filter, state string) harness.FilterStatus {
	e.f.t.Helper()
	var at harness.FilterStatus
	e.f.eventually(func() error {
		status, err := e.f.server.Status(e.f.t.Context())
		if err != nil {
			return err
		}
		if at, err = status.Filter(e.id, filter); err != nil {
			return err
		}
		if at.State != state || state == "running" && at.Running != at.Wanted {
			return fmt.Errorf("filter %q of %q: want state %s: %+v", filter, e.id, state, at)
		}
		return nil
	})
	return at
}

// seen waits for a header's value and returns how long after start it came.
func (f *fleet) seen(l *harness.Load, start time.Time, header, value string) time.Duration {
	f.t.Helper()
	var at time.Time
	f.eventually(func() (err error) {
		at, err = l.Seen(header, value)
		return err
	})
	return at.Sub(start)
}

// good ends a load, of which each request must have been answered through the
// filters.
func (f *fleet) good(l *harness.Load) harness.Counts {
	f.t.Helper()
	c := l.Stop()
	report.addScene(f.t, c)
	if c.Bad() > 0 {
		f.t.Errorf("%v", c)
	}
	if c.Requests == 0 {
		f.t.Error("no request was sent")
	}
	return c
}

func (f *fleet) eventually(check func() error) {
	f.t.Helper()
	must(f.t, harness.Poll(f.t.Context(), patience, check))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}
