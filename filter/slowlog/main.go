// Command slowlog is an access logger (place: accessLog): it writes a line of JSON into
// Envoy's log for each request that took long or that was answered with a server error,
// and counts all requests and those:
//
//	wasmcustom.<prefix>.requests
//	wasmcustom.<prefix>.logged
//
// Queries are left out of the lines, as they may have secrets in them.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/accesslog"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/config"
)

// A module that is compiled as a library never runs main.
func init() { proxywasm.SetVMContext(&vm{}) }

func main() {}

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(id uint32) types.PluginContext {
	p := &plugin{settings: settings{Prefix: "slowlog", Over: "1s"}}
	accesslog.Register(id, p.log)
	return p
}

// settings is the filter's configuration.
type settings struct {
	Prefix string `json:"prefix"` // of the names of metrics; "slowlog" by default
	Over   string `json:"over"`   // requests that take longer are logged; "1s" by default

	over time.Duration
}

func (s *settings) check() (err error) {
	if s.Prefix == "" {
		return errors.New("prefix: must not be empty")
	}
	if s.over, err = time.ParseDuration(s.Over); err != nil || s.over < 0 {
		return fmt.Errorf("over: %q is not a duration, like 500ms", s.Over)
	}
	return nil
}

type plugin struct {
	types.DefaultPluginContext
	settings         settings
	requests, logged proxywasm.MetricCounter
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	err := config.Read(size, &p.settings)
	if err == nil {
		err = p.settings.check()
	}
	if err != nil {
		proxywasm.LogCriticalf("slowlog: configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	p.requests = proxywasm.DefineCounterMetric(p.settings.Prefix + ".requests")
	p.logged = proxywasm.DefineCounterMetric(p.settings.Prefix + ".logged")
	return types.OnPluginStartStatusOK
}

// entry is a line.
type entry struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int64  `json:"status"` // 0: it ended before there was a response
	MS     int64  `json:"ms"`
}

// log is called for each request that is over.
func (p *plugin) log() {
	p.requests.Increment(1)
	took, status := time.Duration(number("request", "duration")), number("response", "code")
	if took <= p.settings.over && status < 500 {
		return
	}
	p.logged.Increment(1)
	path, _, _ := strings.Cut(text("request", "path"), "?")
	line, err := json.Marshal(entry{text("request", "method"), path, status, took.Milliseconds()})
	if err != nil {
		proxywasm.LogErrorf("slowlog: %v", err)
		return
	}
	proxywasm.LogWarnf("slowlog: %s", line)
}

// number is a property of 64 bits, which a duration is, too: in nanoseconds. One that the
// request does not have, as it ended early, is 0.
func number(path ...string) int64 {
	value, err := proxywasm.GetProperty(path)
	if err != nil || len(value) != 8 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(value))
}

func text(path ...string) string {
	value, err := proxywasm.GetProperty(path)
	if err != nil {
		return ""
	}
	return string(value)
}
