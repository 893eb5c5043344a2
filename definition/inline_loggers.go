package definition

import (
	"slices"
	"strconv"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	loggerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	vmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
)

const wasmLoggerName = "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog"

// inlineLoggerKind is the Kind of access loggers that are written in a raw
// listener.
const inlineLoggerKind = "AccessLog"

// loggers takes the Wasm access loggers out of an HTTP connection manager and
// reports whether there were any. Each becomes an access logger that is
// attached to the listener. Those with a filter, which log some requests only,
// stay. If a listener has several connection managers, all of its loggers stay,
// since each would otherwise log for all of them.
func (in *inline) loggers(hcm *hcmv3.HttpConnectionManager, place, steps []string) (taken bool) {
	if in.managers != 1 {
		return false
	}
	var left = hcm.AccessLog[:0:0]
	for i, log := range hcm.GetAccessLog() {
		at := append(slices.Clone(steps), "access_log", strconv.Itoa(i))
		path := in.root.Locate(append(at, "typed_config"))
		inside, body := bodyOf(path, in.at(path), wasmLoggerName)
		if body == nil || log.GetFilter() != nil {
			left = append(left, log)
			continue
		}
		m := &loggerv3.WasmAccessLog{}
		if !in.Message(inside, body, m) {
			in.failed = true
			continue
		}
		code := m.GetConfig().GetVmConfig().GetCode()
		if code.GetRemote() == nil && code.GetLocal().GetFilename() == "" {
			left = append(left, log)
			continue
		}
		name := in.take(&wasmv3.Wasm{Config: m.GetConfig()}, Place{At: Logger}, path, in.root.Locate(append(at, "name")),
			SlotName(append(slices.Clone(place), "access_log", log.GetName())...))
		if name == "" {
			in.failed = true
			continue
		}
		f := in.taken[name]
		f.Kind, f.OnFailure = inlineLoggerKind, Open
		if m.GetConfig().GetFailurePolicy() == vmv3.FailurePolicy_FAIL_CLOSED {
			f.OnFailure = Closed
		}
		f.Attach.Listeners = []ListenerMatch{{Direction: Any, Names: []string{in.listener.GetName()}}}
		taken = true
	}
	hcm.AccessLog = left
	return taken
}

// managers returns the number of HTTP connection managers in a listener.
func managers(l *listenerv3.Listener) int {
	n := 0
	for _, chain := range append(slices.Clip(l.GetFilterChains()), l.GetDefaultFilterChain()) {
		for _, f := range chain.GetFilters() {
			url := f.GetTypedConfig().GetTypeUrl()
			if inner := structType(f.GetTypedConfig()); inner != "" {
				url = typePrefix + inner
			}
			if url == typePrefix+managerName {
				n++
			}
		}
	}
	return n
}
