package try

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/e2e/conformance"
	"wasmxds/module"
	"wasmxds/module/dryrun"
)

// scripted is a module that does what a script says.
func (h *host) scripted(t *testing.T, script string) module.Info {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cases.txt"), []byte("== case\n"+script+"\n----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases, err := conformance.Cases(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := h.store.Put(bytes.NewReader(cases[0].Module), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// expectFailures runs cases, and compares the failures with how they begin.
func expectFailures(t *testing.T, h *host, f *definition.Filter, m module.Info, cases, want string) {
	t.Helper()
	got := strings.Split(told(NewTests(h).Test(t.Context(), f, m, parse(t, cases))), "\n")
	lines := strings.Split(want, "\n")
	for i := range max(len(got), len(lines)) {
		if i >= len(got) || i >= len(lines) || !strings.HasPrefix(got[i], lines[i]) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	}
}

// TestConnections: a network filter's cases have connections, of which is compared what
// each side receives, and who closes them.
func TestConnections(t *testing.T) {
	h := newHost(t, dryrun.Options{})
	network := &definition.Filter{Name: "a", Place: definition.Place{Network: true}}
	changes := h.scripted(t, `network
on downstream_data
  set_buffer_bytes downstream_data 0 0 "<"
on upstream_data
  set_buffer_bytes upstream_data 0 100 "replaced"`)
	expectFailures(t, h, network, changes, `
- name: right
  connection: {data: [{downstream: hello}, {upstream: world}], closes: reset}
  expect: {connection: {upstream: <hello, downstream: {contains: place}, closed: false}, continues: true}
- name: wrong
  connection: {data: [{downstream: hello}, {upstream: world}], closes: reset}
  expect:
    connection: {upstream: hello, downstream: {base64: AAEC}, closed: true}
    continues: false
- {name: needs a connection}
- {name: has a request before, before: [{}], connection: {}}
`, `12: cases[1].expect.continues: wrong: the connection went on to the upstream, expected the filter to hold it up, or to close it
11: cases[1].expect.connection.upstream: wrong: got "<hello", expected "hello"
11: cases[1].expect.connection.downstream: wrong: got "replaced", expected "\x00\x01\x02"
11: cases[1].expect.connection.closed: wrong: the connection went on to the upstream, expected the filter to close it
13: cases[2]: needs a connection: a has connections, not requests
14: cases[3].before[0]: has a request before: a has connections, not requests`)
	expectFailures(t, h, &definition.Filter{Name: "b"}, h.scripted(t, "on request_headers"), `
- {name: has a connection, connection: {}}
`, `5: cases[0]: has a connection: b has requests, not connections`)
	expectFailures(t, h, network, h.scripted(t, "network\non downstream_data\n  trap"), `
- name: traps before
  before:
  - {connection: {closes: reset}}
  - {connection: {data: [{downstream: hello}]}}
  - {connection: {data: [{downstream: hello}]}}
  connection: {data: [{downstream: hello}]}
  expect: {continues: true}
`, `8: cases[0].before[1]: traps before: before[1]: the filter has crashed: proxy_on_downstream_data trapped`)

	holds := h.scripted(t, "network\non downstream_data\n  return 1")
	expectFailures(t, h, network, holds, `
- {name: held, connection: {data: [{downstream: hello}]}}
- {name: expected, connection: {data: [{downstream: hello}]}, expect: {continues: false, connection: {upstream: ""}}}
- {name: goes on, connection: {data: [{downstream: hello}]}, expect: {continues: true}}
`, `5: cases[0]: held: the filter holds up downstream data, and nothing has it go on
7: cases[2].expect.continues: goes on: the filter holds up downstream data, and nothing has it go on, expected it to hold up nothing`)
	traps := h.scripted(t, "network\non downstream_data\n  trap")
	expectFailures(t, h, network, traps, `
- {name: traps, connection: {data: [{downstream: hello}]}}
`, `5: cases[0]: traps: the filter has crashed: proxy_on_downstream_data trapped`)
}

// TestTime: timers go off as time passes, and what they call answers.
func TestTime(t *testing.T) {
	h := newHost(t, dryrun.Options{})
	f := &definition.Filter{Name: "a"}
	ticks := h.scripted(t, `on configure
  define_metric counter "ticks" @u32:ticks
  set_tick_period_milliseconds 1000
on tick
  increment_metric $ticks 1
  http_call "case.up" pairs(":method" "GET" ":path" "/" ":authority" "a") "" pairs() 100 @u32`)
	expectFailures(t, h, f, ticks, `
- {name: none passes, expect: {metrics: {ticks: 0}, calls: []}}
- {name: before, after: 3500ms, expect: {metrics: {ticks: 3}}}
- {name: behind, callouts: {case.up: {}}, wait: 2500ms, expect: {metrics: {ticks: 2}, calls: [{cluster: case.up}, {cluster: case.up}]}}
- {name: both, before: [{after: 5m}, {wait: 10s}], after: 1500ms, wait: 2s, expect: {metrics: {ticks: 313}}}
- {name: wrong, wait: 2500ms, expect: {metrics: {ticks: 3}}}
`, `9: cases[4].expect.metrics.ticks: wrong: got 2, expected 3`)
	always := h.scripted(t, "on configure\n  set_tick_period_milliseconds 1\non tick")
	expectFailures(t, h, f, always, `
- {name: too much, wait: 1h}
- {name: enough, wait: 5s}
`, `5: cases[0]: too much: more than 10000 timers and answers within 1h0m0s`)
	traps := h.scripted(t, "on configure\n  set_tick_period_milliseconds 1000\non tick\n  trap")
	expectFailures(t, h, f, traps, `
- {name: after it, wait: 10s}
- {name: before it, after: 10s}
`, `5: cases[0]: after it: the filter has crashed: proxy_on_tick trapped
6: cases[1]: before it: the filter has crashed: proxy_on_tick trapped`)
	waits := h.scripted(t, `on configure
  set_tick_period_milliseconds 1000
on request_headers
  return 1
on tick
  set_effective_context 2
  continue_stream 0`)
	expectFailures(t, h, f, waits, `
- {name: goes on when the timer says so, expect: {continues: true}}
`, "")
}
