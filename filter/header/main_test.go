package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/emulator"
)

func TestHeader(t *testing.T) {
	tests := map[string]struct {
		config            string
		request, response [][2]string // what goes on
	}{
		"no configuration": {
			request:  [][2]string{{":path", "/"}, {"x-my-custom-header", "hello world"}},
			response: [][2]string{{":status", "200"}, {"x-my-custom-header", "theirs"}},
		},
		"header and value": {
			config:   `{"header": "X-Team", "value": "blue"}`,
			request:  [][2]string{{":path", "/"}, {"x-my-custom-header", "theirs"}, {"x-team", "blue"}},
			response: [][2]string{{":status", "200"}, {"x-my-custom-header", "theirs"}},
		},
		"responses too": {
			config:   `{"response": true}`,
			request:  [][2]string{{":path", "/"}, {"x-my-custom-header", "hello world"}},
			response: [][2]string{{":status", "200"}, {"x-my-custom-header", "hello world"}},
		},
		"direction": {
			config:   `{"direction": "in", "response": true}`,
			request:  [][2]string{{":path", "/"}, {"x-my-custom-header", "theirs"}, {"x-direction", "in"}},
			response: [][2]string{{":status", "200"}, {"x-my-custom-header", "theirs"}, {"x-direction", "in"}},
		},
	}
	emulator.Run(t, func() types.VMContext { return &vm{} }, func(t *testing.T, start emulator.Start) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				host, status := start(t, test.config)
				if status != types.OnPluginStartStatusOK {
					t.Fatalf("the configuration was refused: %v", host.GetCriticalLogs())
				}
				id := host.InitializeHttpContext()
				if host.CallOnRequestHeaders(id, [][2]string{{":path", "/"}, {"X-My-Custom-Header", "theirs"}}, true) != types.ActionContinue {
					t.Error("the request doesn't go on")
				}
				if got := host.GetCurrentRequestHeaders(id); !slices.Equal(got, test.request) {
					t.Errorf("request %v, want %v", got, test.request)
				}
				if host.CallOnResponseHeaders(id, [][2]string{{":status", "200"}, {"X-My-Custom-Header", "theirs"}}, true) != types.ActionContinue {
					t.Error("the response doesn't go on")
				}
				if got := host.GetCurrentResponseHeaders(id); !slices.Equal(got, test.response) {
					t.Errorf("response %v, want %v", got, test.response)
				}
				host.CompleteHttpContext(id)
			})
		}
	})
}

func TestBadConfiguration(t *testing.T) {
	tests := map[string]struct{ config, want string }{
		"not JSON":      {`header: x`, "invalid character 'h'"},
		"unknown field": {`{"heder": "x"}`, `unknown field "heder"`},
		"wrong type":    {`{"value": 1}`, "value"},
		"two values":    {`{} {}`, "more than one JSON value"},
		"name":          {`{"header": "x y"}`, "' ' can't be in a header's name"},
		"value":         {`{"value": "a\r\nb: c"}`, `'\r' can't be in a header's value`},
		"direction":     {`{"direction": "in", "value": "x"}`, "direction stands for"},
	}
	emulator.Run(t, func() types.VMContext { return &vm{} }, func(t *testing.T, start emulator.Start) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				host, status := start(t, test.config)
				if status != types.OnPluginStartStatusFailed {
					t.Error("the configuration was taken")
				}
				logs := host.GetCriticalLogs()
				if len(logs) != 1 || !strings.Contains(logs[0], test.want) {
					t.Errorf("log %q, want one line with %q", logs, test.want)
				}
			})
		}
	})
}
