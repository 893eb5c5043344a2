// Command correlation is a filter that remembers something of a request and
// uses it later: the response names the request it answers, and when the
// stream is done one line in the log tells of both, with the bodies and
// trailers that went each way.
//
// Each stream has a context of its own, with an id that the proxy gives; what
// is kept in the context is there in all of the stream's callbacks, however
// many streams are under way.
package main

import (
	"encoding/json"
	"strconv"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/body"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/trailers"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/config"
)

// A module that is compiled as a library never runs main.
func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext {
	return &plugin{settings: settings{Request: "x-request-id", Response: "x-correlation-id"}}
}

// settings is the filter's configuration.
type settings struct {
	Request  string `json:"request"`  // header with the request's name; Envoy sets x-request-id
	Response string `json:"response"` // header that has it in the response
}

type plugin struct {
	types.DefaultPluginContext
	settings settings
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	if err := config.Read(size, &p.settings); err != nil {
		proxywasm.LogCriticalf("correlation: configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	return &stream{settings: &p.settings, Context: id}
}

// stream is what is known of one request and its response. Its exported
// fields are the line in the log.
type stream struct {
	types.DefaultHttpContext
	settings *settings

	Context  uint32 `json:"context"` // unique in this VM while the stream lives
	ID       string `json:"id"`
	Method   string `json:"method"`
	Path     string `json:"path"`
	Status   string `json:"status"`
	Request  part   `json:"request"`
	Response part   `json:"response"`
}

// part is what went one way after the headers.
type part struct {
	BodyBytes int `json:"bodyBytes"`
	Trailers  int `json:"trailers"`
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.Method = header(proxywasm.GetHttpRequestHeader, ":method")
	s.Path = header(proxywasm.GetHttpRequestHeader, ":path")
	s.ID = header(proxywasm.GetHttpRequestHeader, s.settings.Request)
	if s.ID == "" {
		s.ID = "context-" + strconv.FormatUint(uint64(s.Context), 10)
	}
	return types.ActionContinue
}

// The body's callbacks get it in pieces, each with the piece's size, as long
// as none of them pauses the stream.
func (s *stream) OnHttpRequestBody(size int, _ bool) types.Action {
	s.Request.BodyBytes += size
	return types.ActionContinue
}

func (s *stream) OnHttpRequestTrailers(trailers int) types.Action {
	s.Request.Trailers = trailers
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	s.Status = header(proxywasm.GetHttpResponseHeader, ":status")
	if err := proxywasm.ReplaceHttpResponseHeader(s.settings.Response, s.ID); err != nil {
		proxywasm.LogErrorf("correlation: setting %s: %v", s.settings.Response, err)
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(size int, _ bool) types.Action {
	s.Response.BodyBytes += size
	return types.ActionContinue
}

func (s *stream) OnHttpResponseTrailers(trailers int) types.Action {
	s.Response.Trailers = trailers
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	line, err := json.Marshal(s)
	if err != nil {
		proxywasm.LogErrorf("correlation: writing the line: %v", err)
		return
	}
	proxywasm.LogInfo("correlation: " + string(line))
}

// header gives "" for a header that isn't there.
func header(get func(string) (string, error), name string) string {
	value, err := get(name)
	if err != nil && err != types.ErrorStatusNotFound {
		proxywasm.LogErrorf("correlation: getting %s: %v", name, err)
	}
	return value
}
