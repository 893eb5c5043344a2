package rollouts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	logdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"

	"wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/signal"
)

// stopped is how long it took, with real streams, until a change was stopped and
// undone.
type stopped struct {
	had    int           // Envoys
	toStop time.Duration // from when an Envoy told of a trap
	toBack time.Duration // from then until the last Envoy had what was before
}

const livePolicy = `kind: Rollout
name: careful
waves: [%s]
bake: 10m
stop: {errors: {more: 100%%}, latency: {more: 10000%%}}
`

// TestLive: an xds-server is told by one of a thousand played Envoys that a VM has
// trapped, and takes the change back from all that have it.
func TestLive(t *testing.T) {
	clients := 1000
	if testing.Short() {
		clients = 40
	}
	l := startLive(t, clients)
	n := runs(*liveRuns, 2, 1)
	for _, wave := range []string{"1", "25%"} {
		l.write("careful.yaml", fmt.Sprintf(livePolicy, wave))
		for range n {
			s := l.stop()
			t.Logf("%d Envoys had it: stopped after %v, the last one back %v later", s.had, s.toStop, s.toBack)
			report(func(f *figures) { f.live = append(f.live, s) })
		}
	}
}

// live is an xds-server with played Envoys.
type live struct {
	t           *testing.T
	server      *harness.Server
	definitions string
	revision    int
	logs        accesslogv3.AccessLogServiceClient

	mu    sync.Mutex
	ranAt map[string]ran // by Envoy
}

// ran is the revision that an Envoy has, and since when.
type ran struct {
	revision int
	since    time.Time
}

func startLive(t *testing.T, clients int) *live {
	ctx := t.Context()
	root, err := harness.Root()
	must(t, err)
	dir := t.TempDir()
	l := &live{t: t, definitions: filepath.Join(dir, "definitions"), ranAt: map[string]ran{}}
	must(t, os.Mkdir(l.definitions, 0o755))
	must(t, os.WriteFile(filepath.Join(l.definitions, "hello.wasm"), wasmtest.Filter{Header: "x-hello", FromConfig: true}.Module(), 0o644))
	l.write("web.yaml", "kind: Listener\nname: web\naddress: 127.0.0.1:8080\nroutes:\n- {prefix: /, upstream: \"127.0.0.1:9000\"}\n")
	l.change()
	program, err := harness.BuildServer(ctx, root, dir)
	must(t, err)
	l.server, err = harness.StartServer(ctx, harness.ServerConfig{Program: program, Dir: dir, Definitions: l.definitions, Data: filepath.Join(dir, "data")})
	must(t, err)
	t.Cleanup(l.server.Kill)
	f, err := fleet.New(fleet.Options{Address: l.server.Addresses.XDS, Delta: true, Clients: clients, Runs: l.runs})
	must(t, err)
	ready := f.Watch(l.revision, "hello")
	f.Start(context.WithoutCancel(ctx))
	t.Cleanup(f.Stop)
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = ready.Wait(limited)
	must(t, err)
	conn, err := grpc.NewClient(l.server.Addresses.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	l.logs = accesslogv3.NewAccessLogServiceClient(conn)
	return l
}

func (l *live) write(name, content string) {
	l.t.Helper()
	must(l.t, os.WriteFile(filepath.Join(l.definitions, name), []byte(content), 0o644))
}

// change writes the next revision of the filter.
func (l *live) change() {
	l.t.Helper()
	l.revision++
	l.write("hello.yaml", fmt.Sprintf("kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\nconfig: %q\n", fleet.Mark(l.revision)))
}

// stop has a change reach its first wave, and one of its Envoys tell of a trap.
func (l *live) stop() stopped {
	l.t.Helper()
	ctx := l.t.Context()
	written := time.Now()
	l.change()
	change := l.wait(written, func(c harness.Change) error {
		if c.State != "rolling" || c.Wave != 1 || c.Settled == 0 || c.Settled < c.Reached {
			return errors.New(c.Words)
		}
		return nil
	})
	stream, err := l.logs.StreamAccessLogs(ctx)
	must(l.t, err)
	crashed := time.Now()
	must(l.t, stream.Send(trap(change.Cohorts.New[0])))
	end := l.wait(written, func(c harness.Change) error {
		if c.State == "stopped" {
			return nil
		}
		// As each request that a crashed VM answers: one alone may be of the VM before.
		return errors.Join(errors.New(c.Words), stream.Send(trap(change.Cohorts.New[0])))
	})
	must(l.t, stream.CloseSend())
	var back time.Time
	must(l.t, harness.Poll(ctx, time.Minute, func() (err error) {
		back, err = l.back()
		return err
	}))
	l.wait(written, func(c harness.Change) error {
		if !strings.Contains(c.Words, "back on") {
			return errors.New(c.Words)
		}
		return nil
	})
	return stopped{had: change.Settled, toStop: end.Ended.Sub(crashed), toBack: back.Sub(end.Ended)}
}

func (l *live) runs(node, filter string, revision int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ranAt[node] = ran{revision, time.Now()}
}

// back is when the last Envoy had again what was before the newest change.
func (l *live) back() (last time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for node, r := range l.ranAt {
		if r.revision == l.revision {
			return last, fmt.Errorf("%s has the change", node)
		}
		if r.since.After(last) {
			last = r.since
		}
	}
	return last, nil
}

// trap is what the alarm logger of an Envoy sends.
func trap(node string) *accesslogv3.StreamAccessLogsMessage {
	return &accesslogv3.StreamAccessLogsMessage{
		Identifier: &accesslogv3.StreamAccessLogsMessage_Identifier{Node: &corev3.Node{Id: node, Cluster: "bench"}, LogName: signal.AlarmLog + "/web"},
		LogEntries: &accesslogv3.StreamAccessLogsMessage_HttpLogs{HttpLogs: &accesslogv3.StreamAccessLogsMessage_HTTPAccessLogEntries{
			LogEntry: []*logdatav3.HTTPAccessLogEntry{{Response: &logdatav3.HTTPResponseProperties{
				ResponseCode: wrapperspb.UInt32(503), ResponseCodeDetails: "wasm_fail_stream"}}}}},
	}
}

// wait waits until the newest change is as wanted.
func (l *live) wait(written time.Time, as func(harness.Change) error) (c harness.Change) {
	l.t.Helper()
	must(l.t, harness.Poll(l.t.Context(), time.Minute, func() (err error) {
		if c, err = l.server.Newest(l.t.Context(), "hello", written); err != nil {
			return err
		}
		return as(c)
	}))
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// liveTable has a row for each number of Envoys that had the change.
func (f *figures) liveTable() string {
	all := f.live
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| Envoys that had it | runs | from the trap to the stop, median (most) | from the stop to the last Envoy back, median (most) |\n| --: | --: | --- | --- |\n")
	var had []int
	for _, s := range all {
		if !slices.Contains(had, s.had) {
			had = append(had, s.had)
		}
	}
	for _, n := range had {
		var stops, backs []time.Duration
		for _, s := range all {
			if s.had == n {
				stops, backs = append(stops, s.toStop), append(backs, s.toBack)
			}
		}
		slices.Sort(stops)
		slices.Sort(backs)
		fmt.Fprintf(&b, "| %d | %d | %s (%s) | %s (%s) |\n", n, len(stops), milliseconds(stops[len(stops)/2]), milliseconds(stops[len(stops)-1]),
			milliseconds(backs[len(backs)/2]), milliseconds(backs[len(backs)-1]))
	}
	return b.String()
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
