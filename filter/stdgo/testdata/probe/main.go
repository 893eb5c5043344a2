// Command probe is a filter that shows what it was given: each request gets a
// header for each of its names, configurations and variables. A request for
// /hold is paused at its headers, one for /boom makes the filter trap.
package main

import (
	"os"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/body"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)

func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

type vm struct {
	types.DefaultVMContext
	config string
}

func (v *vm) OnVMStart(int) types.OnVMStartStatus {
	data, _ := proxywasm.GetVMConfiguration() // none is an error
	v.config = string(data)
	return types.OnVMStartStatusOK
}

func (v *vm) NewPluginContext(uint32) types.PluginContext { return &plugin{vm: v} }

type plugin struct {
	types.DefaultPluginContext
	vm     *vm
	config string
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	data, _ := proxywasm.GetPluginConfiguration() // none is an error
	p.config = string(data)
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	for header, value := range map[string]string{
		"x-probe":         "here",
		"x-configuration": s.plugin.config,
		"x-vm":            s.plugin.vm.config,
		"x-variable":      os.Getenv("PROBE"),
		"x-name":          property("plugin_name"),
		"x-root":          property("plugin_root_id"),
	} {
		if err := proxywasm.ReplaceHttpRequestHeader(header, value); err != nil {
			proxywasm.LogErrorf("probe: %s: %v", header, err)
		}
	}
	switch path, _ := proxywasm.GetHttpRequestHeader(":path"); path {
	case "/boom":
		panic("boom")
	case "/hold":
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestBody(int, bool) types.Action { return types.ActionContinue }

func property(name string) string {
	value, err := proxywasm.GetProperty([]string{name})
	if err != nil {
		return err.Error()
	}
	return string(value)
}
