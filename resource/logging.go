package resource

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	wasmloggerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// A Wasm access logger stands in the listener itself, as Envoy has no slots for
// them. It is primed in a twin like an HTTP filter, from which its VM is: the same
// plugin is then put into the listener, which is another for each version of it.
//
// The version of a listener has those of its access loggers behind its own, each as
// a slot has it, so that any xds-server knows from the versions that an Envoy brings
// which ones run there.

// loggerMark is before each logger's version in that of a listener.
const loggerMark = "*"

// loggerName is what Envoy calls such an access logger.
const loggerName = "envoy.access_loggers.wasm"

// Logging is l with these access loggers, in their order. l has them as well if
// they are the ones that it has already.
func (l *Listener) Logging(loggers []*Filter) *Listener {
	plain := l
	if l.plain != nil {
		plain = l.plain
	}
	if len(loggers) == 0 || plain.compiled == nil {
		return plain
	}
	var mark strings.Builder
	for _, f := range loggers {
		mark.WriteString(loggerMark + f.ownVersion)
	}
	base := plain.Base + mark.String()
	if base == l.Base {
		return l
	}
	return plain.compiled.logging.get(plain.key+base, func() *Listener { return plain.logging(base, loggers) })
}

func (l *Listener) logging(base string, loggers []*Filter) *Listener {
	of := *l.compiled
	of.message = withWasmLoggers(of.message, loggers)
	bare := *of.bare // its bytes are asked for in no layout without slots or loggers
	bare.Version = base
	of.bare, of.layouts = &bare, new(shared[string, Layout])
	out := *l
	out.plain, out.compiled, out.Base = l, &of, base
	fresh := out.Fresh(func(string) bool { return false })
	out.Resource, out.Slots, out.RoutesName = fresh.Resource(), fresh.Slots, fresh.Routes
	return &out
}

// withWasmLoggers is m with the access loggers in each HTTP connection manager,
// behind those that it has.
func withWasmLoggers(m *listenerv3.Listener, filters []*Filter) *listenerv3.Listener {
	m = proto.CloneOf(m)
	var loggers []*accesslogv3.AccessLog
	for _, f := range filters {
		loggers = append(loggers, f.accessLog())
	}
	if err := changeManagers(m, func(hcm *hcmv3.HttpConnectionManager) { hcm.AccessLog = append(hcm.AccessLog, loggers...) }); err != nil {
		panic(err) // newListener has unpacked the same
	}
	return m
}

// accessLog is the filter as an access logger. Its plugin is that of its twin.
func (f *Filter) accessLog() *accesslogv3.AccessLog {
	var twin corev3.TypedExtensionConfig
	var filter wasmv3.Wasm
	err := proto.Unmarshal(f.twin.Value, &twin)
	if err == nil {
		err = twin.GetTypedConfig().UnmarshalTo(&filter)
	}
	if err != nil {
		panic(err) // it was marshalled here
	}
	config, err := pack(&wasmloggerv3.WasmAccessLog{Config: filter.Config})
	if err != nil {
		panic(err) // what was just read
	}
	return &accesslogv3.AccessLog{Name: loggerName, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config}}
}

// LoggerIn is the version in which an access logger is in a listener of some
// version; "": it is not in it.
func (f *Filter) LoggerIn(listener string) string {
	base, _, _ := strings.Cut(listener, "+")
	for i, of := range strings.Split(base, loggerMark) {
		if version, id := CutVersion(of); i > 0 && id == f.ID {
			return version
		}
	}
	return ""
}

// namesOf gives the names of filters.
func namesOf(filters []*filter) []string {
	var names []string
	for _, f := range filters {
		names = append(names, f.Name)
	}
	return names
}

// withoutLoggers parts filters that have slots from access loggers.
func withoutLoggers(filters []*filter) (rest, loggers []*filter) {
	for _, f := range filters {
		if f.place.At == definition.Logger {
			loggers = append(loggers, f)
		} else {
			rest = append(rest, f)
		}
	}
	return rest, loggers
}

// logged is l with those of its access loggers that are there.
func (l *Listener) logged(loggers []*filter) *Listener {
	var there []*Filter
	for _, f := range loggers {
		if f.Missing == "" {
			there = append(there, f.Filter)
		}
	}
	return l.Logging(slices.Clip(there))
}
