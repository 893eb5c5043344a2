package main

import (
	"testing"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/emulator"
)

func TestJudge(t *testing.T) {
	ssh := &settings{Require: []string{"SSH-2", "\x16\x03"}}
	for _, test := range []struct {
		of    *settings
		first string
		end   bool
		want  state
	}{
		{&settings{}, "anything", false, open},
		{ssh, "S", false, undecided},
		{ssh, "S", true, closed},
		{ssh, "SSH-2.0-x", false, open},
		{ssh, "SSH-2.0-x", true, open},
		{ssh, "\x16", false, undecided},
		{ssh, "\x16\x03\x01", false, open},
		{ssh, "GET / HTTP/1.1", false, closed},
		{ssh, "", true, closed},
	} {
		if got := test.of.judge([]byte(test.first), test.end); got != test.want {
			t.Errorf("%q, end %v: %v, want %v", test.first, test.end, got, test.want)
		}
	}
}

// The compiled module has its test on a real Envoy: the emulator runs no network
// filter that is Wasm, and can't change what is on a connection.
func TestConnections(t *testing.T) {
	host, status := emulator.Native(t, &vm{}, `{"require": ["SSH-"]}`)
	if status != types.OnPluginStartStatusOK {
		t.Fatalf("the configuration was refused: %v", host.GetCriticalLogs())
	}
	id, action := host.InitializeConnection()
	if action != types.ActionContinue {
		t.Error("a connection that has said nothing is not taken")
	}
	for _, piece := range []struct {
		data string
		want types.Action
	}{{"SS", types.ActionPause}, {"H-2.0\n", types.ActionContinue}, {"more", types.ActionContinue}} {
		if got := host.CallOnDownstreamData(id, []byte(piece.data)); got != piece.want {
			t.Errorf("%q: %v, want %v", piece.data, got, piece.want)
		}
	}
	host.CompleteConnection(id)

	id, _ = host.InitializeConnection()
	for _, data := range []string{"GET / HTTP/1.1", "SSH-2.0"} { // the second is too late
		if got := host.CallOnDownstreamData(id, []byte(data)); got != types.ActionPause {
			t.Errorf("%q goes on after a wrong beginning", data)
		}
	}
	host.CompleteConnection(id)
}

func TestBadConfigurations(t *testing.T) {
	emulator.Run(t, func() types.VMContext { return &vm{} }, func(t *testing.T, start emulator.Start) {
		for _, config := range []string{`{"require": [""]}`, `{"require": "SSH-"}`, `{"prefix": "x"}`, `[]`} {
			t.Run(config, func(t *testing.T) {
				if _, status := start(t, config); status != types.OnPluginStartStatusFailed {
					t.Errorf("taken: %v", status)
				}
			})
		}
	})
}
