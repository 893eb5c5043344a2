package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/state/statetest/etcdtest"
)

// TestReplicas: of three xds-servers of one state one is killed. Its Envoys go to the
// others, which send nothing to who has it all, and the next changes are about as fast.
func TestReplicas(t *testing.T) {
	clients, rounds := size(9000, 60), size(5, 2)
	dir := t.TempDir()
	definitions := filepath.Join(dir, "definitions")
	must(t, os.Mkdir(definitions, 0o755))
	write(t, definitions, "hello.wasm", wasmtest.Filter{Header: "x-hello", FromConfig: true}.Module())
	write(t, definitions, "web.yaml", []byte("kind: Listener\nname: web\naddress: 127.0.0.1:8080\nroutes:\n- {prefix: /, upstream: \"127.0.0.1:9000\"}\n"))
	revision := 0
	change := func() {
		revision++
		write(t, definitions, "hello.yaml", fmt.Appendf(nil, "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\nconfig: %q\n", config(revision)))
	}
	change()

	etcd := etcdtest.Start(t, 1)
	program := build(t, dir)
	var servers []*harness.Server
	var addresses []string
	for i := range 3 {
		at := filepath.Join(dir, fmt.Sprint("server-", i))
		s, err := harness.StartServer(t.Context(), harness.ServerConfig{Program: program, Dir: at, Definitions: definitions, Data: filepath.Join(at, "data"),
			Args: []string{"--state", "etcd", "--etcd", etcd.Endpoints()[0], "--max-connections", fmt.Sprint(clients + 1000)}})
		must(t, err)
		t.Cleanup(s.Kill)
		servers, addresses = append(servers, s), append(addresses, s.Addresses.XDS)
	}
	f := start(t, fleet.Options{Address: strings.Join(addresses, ","), Delta: true, Clients: clients}, revision, "hello")
	changes := func() time.Duration {
		var took []time.Duration
		for range rounds {
			g := f.Watch(revision+1, "hello")
			change()
			took = append(took, p99(wait(t, g)))
		}
		return median(took)
	}
	before := changes()

	settled(t, f)
	responses, killed := f.Counts().Responses, time.Now()
	servers[0].Kill()
	eventually(t, func() error {
		if n := f.Counts(); n.Lost == 0 || n.Connected < int64(clients) {
			return fmt.Errorf("%d of %d Envoys are connected, %d have lost their connection", n.Connected, clients, n.Lost)
		}
		return nil
	})
	back := time.Since(killed)
	settled(t, f)
	if n := f.Counts().Responses - responses; n > 0 {
		t.Errorf("%d responses were sent to Envoys that have it all", n)
	}
	after := changes()
	t.Logf("%d Envoys, of three servers one is killed: all are connected again after %v; until 99 %% have a change it takes %v before, %v after (%.2f; target 2)",
		clients, back.Round(time.Millisecond), before.Round(time.Millisecond), after.Round(time.Millisecond), after.Seconds()/before.Seconds())
	if *full && after > 2*before {
		t.Error("a change takes more than twice as long as with three servers")
	}
}

// settled waits until no response has come for a second, which is what an Envoy that
// has just come would be sent one in.
func settled(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	seen, since := int64(-1), time.Now()
	eventually(t, func() error {
		if n := f.Counts().Responses; n != seen {
			seen, since = n, time.Now()
		}
		if quiet := time.Since(since); quiet < time.Second {
			return fmt.Errorf("a response came %v ago", quiet)
		}
		return nil
	})
}
