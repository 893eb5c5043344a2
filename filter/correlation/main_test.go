package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/emulator"
)

func newVM() types.VMContext { return &vm{} }

// TestInterleaved has three requests under way at once: each response must
// find its own.
func TestInterleaved(t *testing.T) {
	emulator.Run(t, newVM, func(t *testing.T, start emulator.Start) {
		host, status := start(t, "")
		if status != types.OnPluginStartStatusOK {
			t.Fatal(host.GetCriticalLogs())
		}
		var ids []uint32
		for n := range 3 {
			id := host.InitializeHttpContext()
			ids = append(ids, id)
			host.CallOnRequestHeaders(id, [][2]string{{":method", "POST"}, {":path", fmt.Sprint("/", n)}, {"x-request-id", fmt.Sprint("request-", n)}}, false)
		}
		for n, id := range ids {
			for range n { // none, one and two pieces
				host.CallOnRequestBody(id, []byte("12345"), false)
			}
			host.CallOnRequestTrailers(id, make([][2]string, n))
		}
		for n, id := range slices.Backward(ids) {
			host.CallOnResponseHeaders(id, [][2]string{{":status", fmt.Sprint(200 + n)}}, false)
			host.CallOnResponseBody(id, []byte("1234567"), false)
			host.CallOnResponseTrailers(id, [][2]string{{"x-end", "1"}})
			want := [2]string{"x-correlation-id", fmt.Sprint("request-", n)}
			if got := host.GetCurrentResponseHeaders(id); !slices.Contains(got, want) {
				t.Errorf("response %d: %v, want %v", n, got, want)
			}
		}
		for n, id := range ids {
			host.CompleteHttpContext(id)
			want := stream{
				Context: id, ID: fmt.Sprint("request-", n), Method: "POST", Path: fmt.Sprint("/", n), Status: fmt.Sprint(200 + n),
				Request: part{BodyBytes: 5 * n, Trailers: n}, Response: part{BodyBytes: 7, Trailers: 1},
			}
			if got := line(t, host.GetInfoLogs()); got != want {
				t.Errorf("log %+v, want %+v", got, want)
			}
		}
	})
}

func TestSettings(t *testing.T) {
	emulator.Run(t, newVM, func(t *testing.T, start emulator.Start) {
		host, _ := start(t, `{"request": "traceparent", "response": "x-trace"}`)
		id := host.InitializeHttpContext()
		host.CallOnRequestHeaders(id, [][2]string{{":method", "GET"}, {":path", "/"}, {"traceparent", "00-1"}}, true)
		host.CallOnResponseHeaders(id, [][2]string{{":status", "200"}}, true)
		if got := host.GetCurrentResponseHeaders(id); !slices.Contains(got, [2]string{"x-trace", "00-1"}) {
			t.Errorf("response %v, want x-trace: 00-1", got)
		}

		id = host.InitializeHttpContext()
		host.CallOnRequestHeaders(id, [][2]string{{":method", "GET"}, {":path", "/"}}, true)
		host.CallOnResponseHeaders(id, [][2]string{{":status", "200"}}, true)
		if got := host.GetCurrentResponseHeaders(id); !slices.Contains(got, [2]string{"x-trace", fmt.Sprint("context-", id)}) {
			t.Errorf("response %v to a request without a name, want x-trace: context-%d", got, id)
		}
	})
}

func TestBadConfiguration(t *testing.T) {
	emulator.Run(t, newVM, func(t *testing.T, start emulator.Start) {
		host, status := start(t, `{"requst": "x"}`)
		if status != types.OnPluginStartStatusFailed || len(host.GetCriticalLogs()) != 1 {
			t.Error("a field that doesn't exist was taken")
		}
	})
}

// line is the last line of the log.
func line(t *testing.T, logs []string) (s stream) {
	t.Helper()
	if len(logs) == 0 {
		t.Fatal("nothing in the log")
	}
	text, ok := strings.CutPrefix(logs[len(logs)-1], "correlation: ")
	if !ok {
		t.Fatalf("log %q", logs)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}
