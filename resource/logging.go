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

// A Wasm access logger is part of the listener itself, since Envoy has no slots
// for access loggers. Like an HTTP filter, it is primed in a twin, whose VM it
// uses: the same plugin is then put into the listener, which differs for each
// version of the plugin.
//
// The version of a listener includes those of its access loggers, each in the
// form that a slot has, so that any xds-server knows from the versions that an
// Envoy reports which loggers run there.

// loggerMark precedes each logger's version in the version of a listener.
const loggerMark = "*"

// loggerName is the name of such an access logger in Envoy.
const loggerName = "envoy.access_loggers.wasm"

// Logging returns l with exactly these access loggers, in their order. It
// returns l itself if it has them already.
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
	bare := *of.bare // its bytes are only used in a layout without slots or loggers, which is never requested
	bare.Version = base
	of.bare, of.layouts = &bare, new(shared[string, Layout])
	out := *l
	out.plain, out.compiled, out.Base = l, &of, base
	fresh := out.Fresh(func(string) bool { return false })
	out.Resource, out.Slots, out.RoutesName = fresh.Resource(), fresh.Slots, fresh.Routes
	return &out
}

// withWasmLoggers returns m with the access loggers in each HTTP connection
// manager, behind existing ones.
func withWasmLoggers(m *listenerv3.Listener, filters []*Filter) *listenerv3.Listener {
	m = proto.CloneOf(m)
	var loggers []*accesslogv3.AccessLog
	for _, f := range filters {
		loggers = append(loggers, f.accessLog())
	}
	if err := changeManagers(m, func(hcm *hcmv3.HttpConnectionManager) { hcm.AccessLog = append(hcm.AccessLog, loggers...) }); err != nil {
		panic(err) // can't happen: newListener has unpacked the same message
	}
	return m
}

// accessLog returns the filter as an access logger, with the plugin of its
// twin.
func (f *Filter) accessLog() *accesslogv3.AccessLog {
	var twin corev3.TypedExtensionConfig
	var filter wasmv3.Wasm
	err := proto.Unmarshal(f.twin.Value, &twin)
	if err == nil {
		err = twin.GetTypedConfig().UnmarshalTo(&filter)
	}
	if err != nil {
		panic(err) // can't happen: it was marshalled here
	}
	config, err := pack(&wasmloggerv3.WasmAccessLog{Config: filter.Config})
	if err != nil {
		panic(err) // can't happen: it was just unmarshalled
	}
	return &accesslogv3.AccessLog{Name: loggerName, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config}}
}

// LoggerIn returns the version of the access logger f that a listener's version
// includes, or "" if there is none.
func (f *Filter) LoggerIn(listener string) string {
	base, _, _ := strings.Cut(listener, "+")
	for i, of := range strings.Split(base, loggerMark) {
		if version, id := CutVersion(of); i > 0 && id == f.ID {
			return version
		}
	}
	return ""
}

// namesOf returns the names of filters.
func namesOf(filters []*filter) []string {
	var names []string
	for _, f := range filters {
		names = append(names, f.Name)
	}
	return names
}

// withoutLoggers separates access loggers from filters that have slots.
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

// logged returns l with those of its access loggers that are not missing.
func (l *Listener) logged(loggers []*filter) *Listener {
	var there []*Filter
	for _, f := range loggers {
		if f.Missing == "" {
			there = append(there, f.Filter)
		}
	}
	return l.Logging(slices.Clip(there))
}
