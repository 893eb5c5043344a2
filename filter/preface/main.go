// Command preface is a network filter that looks at how connections begin: it
// closes those whose first bytes are not of a protocol that is expected, before
// any of them reaches the upstream, and can put bytes of its own before them, for
// an upstream that wants to be told who asks.
package main

import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/tcp"
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
		err = p.settings.check()
	}
	if err != nil {
		proxywasm.LogCriticalf("preface: configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewTcpContext(uint32) types.TcpContext { return &connection{settings: &p.settings} }

// connection is one TCP connection.
type connection struct {
	types.DefaultTcpContext
	settings *settings
	state    state
}

// OnDownstreamData is called with all that the client has sent and that was not
// passed on yet.
func (c *connection) OnDownstreamData(size int, end bool) types.Action {
	switch {
	case c.state == open:
		return types.ActionContinue
	case c.state == closed:
		return types.ActionPause
	case size == 0 && !end:
		return types.ActionPause
	}
	var first []byte
	if size > 0 {
		var err error
		if first, err = proxywasm.GetDownstreamData(0, size); err != nil {
			proxywasm.LogErrorf("preface: reading what the client sent: %v", err)
			return c.close()
		}
	}
	switch c.state = c.settings.judge(first, end); c.state {
	case undecided:
		return types.ActionPause
	case closed:
		proxywasm.LogInfof("preface: closing a connection that begins with %q", first[:min(len(first), 16)])
		return c.close()
	}
	if c.settings.Prepend == "" {
		return types.ActionContinue
	}
	if err := proxywasm.PrependDownstreamData([]byte(c.settings.Prepend)); err != nil {
		proxywasm.LogErrorf("preface: putting its own before it: %v", err)
		return c.close()
	}
	return types.ActionContinue
}

// close ends the connection: nothing of it goes on.
func (c *connection) close() types.Action {
	c.state = closed
	if err := proxywasm.CloseDownstream(); err != nil {
		proxywasm.LogCriticalf("preface: closing: %v", err)
	}
	return types.ActionPause
}
