package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/emulator"
)

func newVM() types.VMContext { return &vm{} }

func TestCounts(t *testing.T) {
	emulator.Run(t, newVM, func(t *testing.T, start emulator.Start) {
		host, status := start(t, `{"prefix": "shop"}`)
		if status != types.OnPluginStartStatusOK {
			t.Fatal(host.GetCriticalLogs())
		}
		gauge := func(want uint64) {
			t.Helper()
			if got, err := host.GetGaugeMetric("shop.in_flight"); err != nil || got != want {
				t.Errorf("in flight %d (%v), want %d", got, err, want)
			}
		}
		var ids []uint32
		for range 4 {
			id := host.InitializeHttpContext()
			host.CallOnRequestHeaders(id, [][2]string{{":path", "/"}}, true)
			ids = append(ids, id)
		}
		gauge(4)
		for n, status := range []string{"200", "204", "503"} { // the fourth gets no response
			host.CallOnResponseHeaders(ids[n], [][2]string{{":status", status}}, true)
			want := [2]string{"x-request-number", fmt.Sprint(n + 1)}
			if got := host.GetCurrentResponseHeaders(ids[n]); !slices.Contains(got, want) {
				t.Errorf("response %v, want %v", got, want)
			}
		}
		for _, id := range ids {
			host.CompleteHttpContext(id)
		}
		gauge(0)
		for class, want := range map[string]uint64{"none": 1, "1xx": 0, "2xx": 2, "3xx": 0, "4xx": 0, "5xx": 1} {
			if got, err := host.GetCounterMetric("shop.responses." + class); err != nil || got != want {
				t.Errorf("responses of %s: %d (%v), want %d", class, got, err, want)
			}
		}
	})
}

// slowVM has a clock that goes on by 7 ms each time it is read.
type slowVM struct{ vm }

func (s *slowVM) NewPluginContext(id uint32) types.PluginContext {
	p := s.vm.NewPluginContext(id).(*plugin)
	var clock time.Time
	p.now = func() time.Time { clock = clock.Add(7 * time.Millisecond); return clock }
	return p
}

func TestDuration(t *testing.T) {
	host, _ := emulator.Native(t, &slowVM{}, "")
	id := host.InitializeHttpContext()
	host.CallOnRequestHeaders(id, [][2]string{{":path", "/"}}, true)
	host.CompleteHttpContext(id)
	if got, err := host.GetHistogramMetric("demo.duration_ms"); err != nil || got != 7 {
		t.Errorf("recorded %d ms (%v), want 7", got, err)
	}
}

func TestBadConfiguration(t *testing.T) {
	emulator.Run(t, newVM, func(t *testing.T, start emulator.Start) {
		for _, configuration := range []string{`{"prefix": ""}`, `{"name": "x"}`} {
			t.Run(configuration, func(t *testing.T) {
				host, status := start(t, configuration)
				if status != types.OnPluginStartStatusFailed || len(host.GetCriticalLogs()) != 1 {
					t.Error("it was taken")
				}
			})
		}
	})
}
