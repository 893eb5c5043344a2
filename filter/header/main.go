// Command header is a filter that sets one header, with a name and a value
// from its configuration, on every request and, when asked, every response.
// What came in under that name is dropped, so that a request that bears the
// header has passed the filter.
package main

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/config"
)

// A module that is compiled as a library never runs main.
func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

// plugin is one configuration of the filter.
type plugin struct {
	types.DefaultPluginContext
	settings settings
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	err := config.Read(size, &p.settings)
	if err == nil {
		err = p.settings.complete()
	}
	if err != nil {
		proxywasm.LogCriticalf("header: configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{settings: &p.settings} }

// stream is one HTTP request with its response.
type stream struct {
	types.DefaultHttpContext
	settings *settings
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	if err := proxywasm.RemoveHttpRequestHeader(s.settings.Header); err != nil {
		return refuse(err)
	}
	if err := proxywasm.AddHttpRequestHeader(s.settings.Header, s.settings.Value); err != nil {
		return refuse(err)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	if !s.settings.Response {
		return types.ActionContinue
	}
	if err := proxywasm.RemoveHttpResponseHeader(s.settings.Header); err != nil {
		return refuse(err)
	}
	if err := proxywasm.AddHttpResponseHeader(s.settings.Header, s.settings.Value); err != nil {
		return refuse(err)
	}
	return types.ActionContinue
}

// refuse answers 500: better no answer than one without the header.
func refuse(err error) types.Action {
	proxywasm.LogErrorf("header: setting it: %v", err)
	if err := proxywasm.SendHttpResponse(500, nil, []byte("header filter\n"), -1); err != nil {
		proxywasm.LogCriticalf("header: answering 500: %v", err)
	}
	return types.ActionPause
}
