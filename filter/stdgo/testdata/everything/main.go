// Command everything is a filter that refers to every host call of the SDK
// and has every callback.
package main

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/body"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/tcp"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/trailers"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)

func init() {
	proxywasm.SetVMContext(&vm{})
}

func main() {}

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct{ types.DefaultPluginContext }

func (*plugin) OnPluginStart(int) types.OnPluginStartStatus {
	for _, call := range calls {
		call()
	}
	return types.OnPluginStartStatusOK
}

// calls has one SDK function for each host call.
var calls = []func(){
	func() { proxywasm.LogInfo("") },
	func() { _ = proxywasm.SetProperty(nil, nil) },
	func() { _, _ = proxywasm.GetProperty(nil) },
	func() { _ = proxywasm.SendHttpResponse(0, nil, nil, 0) },
	func() { _, _, _ = proxywasm.GetSharedData("") },
	func() { _ = proxywasm.SetSharedData("", nil, 0) },
	func() { _, _ = proxywasm.RegisterSharedQueue("") },
	func() { _, _ = proxywasm.ResolveSharedQueue("", "") },
	func() { _, _ = proxywasm.DequeueSharedQueue(0) },
	func() { _ = proxywasm.EnqueueSharedQueue(0, nil) },
	func() { _, _ = proxywasm.GetHttpRequestHeader("") },
	func() { _ = proxywasm.AddHttpRequestHeader("", "") },
	func() { _ = proxywasm.ReplaceHttpRequestHeader("", "") },
	func() { _ = proxywasm.RemoveHttpRequestHeader("") },
	func() { _, _ = proxywasm.GetHttpRequestHeaders() },
	func() { _ = proxywasm.ReplaceHttpRequestHeaders(nil) },
	func() { _, _ = proxywasm.GetHttpRequestBody(0, 0) },
	func() { _ = proxywasm.ReplaceHttpRequestBody(nil) },
	func() { _ = proxywasm.ResumeHttpRequest() },
	func() { _ = proxywasm.CloseDownstream() },
	func() { _, _ = proxywasm.DispatchHttpCall("", nil, nil, nil, 0, nil) },
	func() { _, _ = proxywasm.CallForeignFunction("", nil) },
	func() { _ = proxywasm.SetTickPeriodMilliSeconds(0) },
	func() { _ = proxywasm.SetEffectiveContext(0) },
	func() { proxywasm.PluginDone() },
	func() { proxywasm.DefineCounterMetric("").Increment(0) },
	func() { proxywasm.DefineGaugeMetric("").Add(0) },
	func() { proxywasm.DefineHistogramMetric("").Record(0) },
	func() { proxywasm.DefineHistogramMetric("").Value() },
}
