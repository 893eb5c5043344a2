// Command everything is a filter that makes every host call of the SDK and has
// every callback. Run by a proxy it logs, for each, whether it did what it
// should: a line "everything: NAME: ok", or what came instead.
//
// With the configuration "tcp" it is a network filter.
package main

import (
	"bytes"
	"strings"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/body"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/tcp"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/trailers"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)

func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

// expect logs whether a host call or callback was right; got is shown where it
// wasn't.
func expect(name string, right bool, got ...any) {
	if right {
		proxywasm.LogWarnf("everything: %s: ok", name)
	} else {
		proxywasm.LogErrorf("everything: %s: got %q", name, got)
	}
}

type vm struct{ types.DefaultVMContext }

func (*vm) OnVMStart(size int) types.OnVMStartStatus {
	data, err := proxywasm.GetVMConfiguration()
	expect("proxy_on_vm_start", err == nil && size == 8 && string(data) == "vm start", size, data, err)
	return types.OnVMStartStatusOK
}

func (*vm) NewPluginContext(id uint32) types.PluginContext { return &plugin{id: id} }

type plugin struct {
	types.DefaultPluginContext
	id      uint32
	tcp     bool
	queue   uint32
	waiting uint32 // context of a request that waits for a tick
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	data, err := proxywasm.GetPluginConfiguration()
	p.tcp = string(data) == "tcp"
	expect("proxy_on_configure", err == nil && size == len(data), size, data, err)
	proxywasm.LogCritical("everything: proxy_log: ok")
	p.startQueue()
	startSharedData()
	startForeignFunctions()
	startMetrics()
	err = proxywasm.SetTickPeriodMilliSeconds(20)
	expect("proxy_set_tick_period_milliseconds", err == nil, err)
	return types.OnPluginStartStatusOK
}

func (p *plugin) startQueue() {
	var err error
	p.queue, err = proxywasm.RegisterSharedQueue("queue")
	expect("proxy_register_shared_queue", err == nil, err)
	again, err := proxywasm.ResolveSharedQueue("everything", "queue") // VM id, name
	expect("proxy_resolve_shared_queue", err == nil && again == p.queue, again, err)
	_, err = proxywasm.ResolveSharedQueue("everything", "other")
	expect("proxy_resolve_shared_queue", err == types.ErrorStatusNotFound, err)
	_, err = proxywasm.DequeueSharedQueue(p.queue)
	expect("proxy_dequeue_shared_queue", err == types.ErrorStatusEmpty, err)
}

func startSharedData() {
	_, _, err := proxywasm.GetSharedData("missing")
	expect("proxy_get_shared_data", err == types.ErrorStatusNotFound, err)
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	for _, value := range [][]byte{nil, []byte("small"), large} {
		err = proxywasm.SetSharedData("key", value, 0)
		expect("proxy_set_shared_data", err == nil, err)
		got, cas, err := proxywasm.GetSharedData("key")
		expect("proxy_get_shared_data", err == nil && cas != 0 && bytes.Equal(got, value), len(got), cas, err)
		err = proxywasm.SetSharedData("key", value, cas+1)
		expect("proxy_set_shared_data", err == types.ErrorStatusCasMismatch, err)
	}
}

// Two of Envoy's own functions: source/extensions/common/wasm/foreign.cc.
func startForeignFunctions() {
	text := strings.Repeat("all work and no play ", 100)
	packed, err := proxywasm.CallForeignFunction("compress", []byte(text))
	expect("proxy_call_foreign_function", err == nil && len(packed) < len(text), len(packed), err)
	unpacked, err := proxywasm.CallForeignFunction("uncompress", packed)
	expect("proxy_call_foreign_function", err == nil && string(unpacked) == text, len(unpacked), err)
	_, err = proxywasm.CallForeignFunction("missing", nil)
	expect("proxy_call_foreign_function", err == types.ErrorStatusNotFound, err)
}

func startMetrics() {
	counter := proxywasm.DefineCounterMetric("everything.counter")
	before := counter.Value() // each start of this plugin counts
	counter.Increment(3)
	expect("proxy_increment_metric", counter.Value() == before+3, before, counter.Value())
	gauge := proxywasm.DefineGaugeMetric("everything.gauge")
	value := gauge.Value()
	gauge.Add(-7)
	expect("proxy_get_metric", gauge.Value() == value-7, value, gauge.Value())
	proxywasm.DefineHistogramMetric("everything.histogram").Record(7) // it panics where it can't
	expect("proxy_define_metric", true)
	expect("proxy_record_metric", true)
}

func (p *plugin) OnTick() {
	expect("proxy_on_tick", true)
	if p.waiting == 0 {
		return
	}
	err := proxywasm.SetEffectiveContext(p.waiting)
	path, err2 := proxywasm.GetHttpRequestHeader(":path")
	expect("proxy_set_effective_context", err == nil && err2 == nil && path == "/wait", path, err, err2)
	err = proxywasm.ResumeHttpRequest()
	expect("proxy_continue_stream", err == nil, err)
	p.waiting = 0
}

// OnQueueReady may find the queue empty: another worker may have been faster.
func (p *plugin) OnQueueReady(queue uint32) {
	item, err := proxywasm.DequeueSharedQueue(queue)
	taken := err == nil && string(item) == "item" || err == types.ErrorStatusEmpty
	expect("proxy_on_queue_ready", queue == p.queue && taken, queue, item, err)
	expect("proxy_dequeue_shared_queue", taken, item, err)
}

func (p *plugin) OnPluginDone() bool {
	expect("proxy_on_done", true)
	proxywasm.PluginDone()
	expect("proxy_done", true)
	return true
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	if p.tcp {
		return nil
	}
	expect("proxy_on_context_create", id != p.id, id)
	return &stream{plugin: p, id: id}
}

func (p *plugin) NewTcpContext(id uint32) types.TcpContext { return &connection{} }
