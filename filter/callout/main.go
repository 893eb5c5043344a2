// Command callout is a filter that asks another service about each request:
// the request waits for the answer, goes on where it is 2xx, and is answered
// with 403 where it isn't. When there is no answer in time, the configuration
// says which.
package main

import (
	"errors"
	"fmt"
	"strings"

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
	return &plugin{settings: settings{Path: "/", TimeoutMS: 500}}
}

// settings is the filter's configuration.
type settings struct {
	Cluster   string   `json:"cluster"`   // the service to ask, as Envoy's cluster
	Path      string   `json:"path"`      // what to ask it for; "/" by default
	TimeoutMS uint32   `json:"timeoutMs"` // 500 by default
	Forward   []string `json:"forward"`   // the request's headers that the service gets
	Take      []string `json:"take"`      // the answer's headers that go on with the request
	FailOpen  bool     `json:"failOpen"`  // no answer: let the request go on (by default it is answered with 503)
}

func (s *settings) check() error {
	if s.Cluster == "" {
		return errors.New("cluster: missing")
	}
	if s.TimeoutMS == 0 {
		return errors.New("timeoutMs: must be above 0")
	}
	for i, name := range s.Take { // as Envoy has the answer's headers
		s.Take[i] = strings.ToLower(name)
	}
	return nil
}

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
		proxywasm.LogCriticalf("callout: configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{settings: &p.settings} }

// stream is one request that waits, or has waited, for the answer.
type stream struct {
	types.DefaultHttpContext
	settings *settings
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	question, err := s.question()
	if err == nil {
		_, err = proxywasm.DispatchHttpCall(s.settings.Cluster, question, nil, nil, s.settings.TimeoutMS, s.onAnswer)
	}
	if err != nil {
		proxywasm.LogErrorf("callout: asking %s: %v", s.settings.Cluster, err)
		return s.noAnswer()
	}
	return types.ActionPause
}

// question is what the service is asked.
func (s *stream) question() ([][2]string, error) {
	headers := [][2]string{{":method", "GET"}, {":path", s.settings.Path}, {":authority", s.settings.Cluster}}
	for _, name := range s.settings.Forward {
		value, err := proxywasm.GetHttpRequestHeader(name)
		switch {
		case errors.Is(err, types.ErrorStatusNotFound):
		case err != nil:
			return nil, fmt.Errorf("getting %s: %w", name, err)
		default:
			headers = append(headers, [2]string{name, value})
		}
	}
	return headers, nil
}

// onAnswer decides. No answer looks like one: Envoy makes a 504 when the time
// is up and a 503 when the service can't be reached. So no 5xx counts as an
// answer; without any headers the call itself was broken off.
func (s *stream) onAnswer(headers, _, _ int) {
	answer := map[string]string{}
	if headers > 0 {
		list, err := proxywasm.GetHttpCallResponseHeaders()
		if err != nil {
			proxywasm.LogErrorf("callout: reading the answer: %v", err)
		}
		for _, h := range list {
			answer[h[0]] = h[1]
		}
	}
	switch status := answer[":status"]; {
	case status == "" || status[0] == '5':
		proxywasm.LogWarnf("callout: no answer from %s (status %q)", s.settings.Cluster, status)
		if s.noAnswer() == types.ActionContinue {
			s.resume()
		}
	case status[0] == '2':
		if err := s.take(answer); err != nil {
			proxywasm.LogErrorf("callout: taking over the answer: %v", err)
			s.respond(500, "can't go on\n")
			return
		}
		s.resume()
	default:
		s.respond(403, "refused\n")
	}
}

// take puts those of the answer's headers on the request that are to go on
// with it. What came in under their names is dropped: only the service may
// say it.
func (s *stream) take(answer map[string]string) error {
	for _, name := range s.settings.Take {
		if err := proxywasm.RemoveHttpRequestHeader(name); err != nil {
			return fmt.Errorf("removing %s: %w", name, err)
		}
		if answer[name] == "" {
			continue
		}
		if err := proxywasm.AddHttpRequestHeader(name, answer[name]); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// noAnswer says what becomes of a request about which nothing is known.
func (s *stream) noAnswer() types.Action {
	if s.settings.FailOpen {
		return types.ActionContinue
	}
	s.respond(503, "can't tell whether this is allowed\n")
	return types.ActionPause
}

func (s *stream) resume() {
	if err := proxywasm.ResumeHttpRequest(); err != nil {
		proxywasm.LogCriticalf("callout: resuming: %v", err)
	}
}

func (s *stream) respond(code uint32, text string) {
	if err := proxywasm.SendHttpResponse(code, nil, []byte(text), -1); err != nil {
		proxywasm.LogCriticalf("callout: answering %d: %v", code, err)
	}
}
