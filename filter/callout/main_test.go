package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/emulator"
)

func newVM() types.VMContext { return &vm{} }

func TestAnswers(t *testing.T) {
	const settings = `{"cluster": "authz", "path": "/check", "forward": ["authorization", "cookie"], "take": ["X-User"]`
	tests := map[string]struct {
		config string
		answer [][2]string
		action types.Action // of the request, in the end
		status uint32       // that the filter answers with; 0: it doesn't
		user   string       // that goes on with the request
	}{
		"allowed":               {config: settings + `}`, answer: [][2]string{{":status", "204"}, {"x-user", "ann"}}, user: "ann"},
		"allowed, says no more": {config: settings + `}`, answer: [][2]string{{":status", "200"}}},
		"refused":               {config: settings + `}`, answer: [][2]string{{":status", "401"}, {"x-user", "ann"}}, action: types.ActionPause, status: 403, user: "spoof"},
		"too late":              {config: settings + `}`, answer: [][2]string{{":status", "504"}}, action: types.ActionPause, status: 503, user: "spoof"},
		"too late, fail open":   {config: settings + `, "failOpen": true}`, answer: [][2]string{{":status", "504"}}, user: "spoof"},
		"no answer":             {config: settings + `}`, action: types.ActionPause, status: 503, user: "spoof"},
		"no answer, fail open":  {config: settings + `, "failOpen": true}`, user: "spoof"},
	}
	emulator.Run(t, newVM, func(t *testing.T, start emulator.Start) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				host, status := start(t, test.config)
				if status != types.OnPluginStartStatusOK {
					t.Fatal(host.GetCriticalLogs())
				}
				id := host.InitializeHttpContext()
				request := [][2]string{{":path", "/"}, {"authorization", "Basic x"}, {"x-user", "spoof"}}
				if host.CallOnRequestHeaders(id, request, true) != types.ActionPause {
					t.Fatal("the request doesn't wait for the answer")
				}
				calls := host.GetCalloutAttributesFromContext(id)
				if len(calls) != 1 {
					t.Fatalf("%d calls, want 1", len(calls))
				}
				want := [][2]string{{":method", "GET"}, {":path", "/check"}, {":authority", "authz"}, {"authorization", "Basic x"}}
				if calls[0].Upstream != "authz" || !slices.Equal(calls[0].Headers, want) {
					t.Errorf("call to %s %v, want authz %v", calls[0].Upstream, calls[0].Headers, want)
				}

				host.CallOnHttpCallResponse(calls[0].CalloutID, test.answer, nil, nil)
				if got := host.GetCurrentHttpStreamAction(id); got != test.action {
					t.Errorf("action %v, want %v", got, test.action)
				}
				var sent uint32
				if response := host.GetSentLocalResponse(id); response != nil {
					sent = response.StatusCode
				}
				if sent != test.status {
					t.Errorf("answers %d, want %d", sent, test.status)
				}
				if got := values(host.GetCurrentRequestHeaders(id), "x-user"); got != test.user {
					t.Errorf("x-user %q, want %q", got, test.user)
				}
			})
		}
	})
}

func TestBadConfiguration(t *testing.T) {
	tests := map[string]string{
		``:                                   "cluster: missing",
		`{"cluster": "a", "timeoutMs": 0}`:   "timeoutMs: must be above 0",
		`{"cluster": "a", "timeoutMs": -1}`:  "timeoutMs",
		`{"cluster": "a", "timeout": "1s"}`:  `unknown field "timeout"`,
		`{"cluster": "a", "forward": "all"}`: "forward",
	}
	emulator.Run(t, newVM, func(t *testing.T, start emulator.Start) {
		for configuration, want := range tests {
			t.Run(configuration, func(t *testing.T) {
				host, status := start(t, configuration)
				logs := host.GetCriticalLogs()
				if status != types.OnPluginStartStatusFailed || len(logs) != 1 || !strings.Contains(logs[0], want) {
					t.Errorf("started %v, log %q, want %q", status, logs, want)
				}
			})
		}
	})
}

// values are a header's values, with commas between them.
func values(headers [][2]string, name string) string {
	var list []string
	for _, h := range headers {
		if h[0] == name {
			list = append(list, h[1])
		}
	}
	return strings.Join(list, ",")
}
