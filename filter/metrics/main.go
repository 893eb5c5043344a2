// Command metrics is a filter that counts: in metrics of its own, which Envoy
// shows among its statistics as wasmcustom.<name>, and in shared data, which
// all workers of an Envoy have together.
//
//	<prefix>.responses.2xx   counter, one for each class of status
//	<prefix>.in_flight       gauge
//	<prefix>.duration_ms     histogram, of whole streams
//
// Each response says in x-request-number how many requests came before it
// (and itself), whichever worker had them.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/config"
)

// A module that is compiled as a library never runs main.
func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext {
	return &plugin{settings: settings{Prefix: "demo"}, now: time.Now}
}

// settings is the filter's configuration.
type settings struct {
	Prefix string `json:"prefix"` // of the names of metrics and shared data; "demo" by default
}

type plugin struct {
	types.DefaultPluginContext
	settings  settings
	now       func() time.Time
	responses [6]proxywasm.MetricCounter // by class; 0: none or one that is no class
	inFlight  proxywasm.MetricGauge
	duration  proxywasm.MetricHistogram
	requests  sharedCounter
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	err := config.Read(size, &p.settings)
	if err == nil && p.settings.Prefix == "" {
		err = errors.New("prefix: must not be empty")
	}
	if err == nil {
		p.requests = sharedCounter(p.settings.Prefix + ".requests")
		err = p.requests.create()
	}
	if err != nil {
		proxywasm.LogCriticalf("metrics: configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	for class := range p.responses {
		name := fmt.Sprintf("%s.responses.%dxx", p.settings.Prefix, class)
		if class == 0 {
			name = p.settings.Prefix + ".responses.none"
		}
		p.responses[class] = proxywasm.DefineCounterMetric(name)
	}
	p.inFlight = proxywasm.DefineGaugeMetric(p.settings.Prefix + ".in_flight")
	p.duration = proxywasm.DefineHistogramMetric(p.settings.Prefix + ".duration_ms")
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

// stream is one HTTP request with its response.
type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	start  time.Time
	class  int // of the response's status; 0: there is none yet
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.start = s.plugin.now()
	s.plugin.inFlight.Add(1)
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	status, err := proxywasm.GetHttpResponseHeader(":status")
	if err != nil {
		proxywasm.LogErrorf("metrics: getting :status: %v", err)
	} else if len(status) == 3 && status[0] >= '1' && status[0] <= '5' {
		s.class = int(status[0] - '0')
	}
	number, err := s.plugin.requests.increment()
	if err == nil {
		err = proxywasm.ReplaceHttpResponseHeader("x-request-number", fmt.Sprint(number))
	}
	if err != nil {
		proxywasm.LogErrorf("metrics: numbering the request: %v", err)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	if s.start.IsZero() {
		return // a stream that ended before its headers came
	}
	s.plugin.inFlight.Add(-1)
	s.plugin.responses[s.class].Increment(1)
	s.plugin.duration.Record(uint64(max(0, s.plugin.now().Sub(s.start).Milliseconds())))
}

// sharedCounter is a number in shared data, named by its key.
type sharedCounter string

// create makes the counter unless it is there. The proxy starts a plugin in
// the main thread before any worker has it, so that no worker can count
// before create is through.
func (key sharedCounter) create() error {
	_, _, err := proxywasm.GetSharedData(string(key))
	if errors.Is(err, types.ErrorStatusNotFound) {
		err = proxywasm.SetSharedData(string(key), make([]byte, 8), 0)
	}
	if err != nil {
		return fmt.Errorf("creating %s: %w", key, err)
	}
	return nil
}

// increment adds one and gives the new number. Another worker may have been
// faster: then the proxy refuses what was made of the old value, and it is
// tried again.
func (key sharedCounter) increment() (uint64, error) {
	for range 100 {
		data, cas, err := proxywasm.GetSharedData(string(key))
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", key, err)
		}
		if len(data) != 8 {
			return 0, fmt.Errorf("%s has %d bytes, not 8", key, len(data))
		}
		number := binary.LittleEndian.Uint64(data) + 1
		err = proxywasm.SetSharedData(string(key), binary.LittleEndian.AppendUint64(nil, number), cas)
		if err == nil {
			return number, nil
		}
		if !errors.Is(err, types.ErrorStatusCasMismatch) {
			return 0, fmt.Errorf("writing %s: %w", key, err)
		}
	}
	return 0, fmt.Errorf("writing %s: others were always faster", key)
}
