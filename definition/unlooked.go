package definition

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	udpav1 "github.com/cncf/xds/go/udpa/type/v1"
	xdsv3 "github.com/cncf/xds/go/xds/type/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
)

// wasmExtensions are the messages that hold a Wasm plugin, with their names for
// people.
var wasmExtensions = map[string]string{
	wasmName:        "HTTP filter",
	networkWasmName: "network filter",
	wasmLoggerName:  "access logger",
	"envoy.extensions.stat_sinks.wasm.v3.Wasm": "stats sink",
	"envoy.extensions.wasm.v3.WasmService":     "service",
}

// Hints for a plugin that xds-server does not manage.
const (
	inlineHint = "only HTTP and network filters that are listed in a listener, with code that is remote or local.filename, are managed"
	staticHint = "an HTTP or network filter is managed where the listener has a config_discovery slot for it, and the filter is in the definitions directory"
)

// unlooked warns about Wasm plugins in m that Envoy gets unchanged.
func (d *Doc) unlooked(m proto.Message, hint string) {
	findAnys(m.ProtoReflect(), nil, func(a *anypb.Any, steps []string) {
		name := a.GetTypeUrl()[strings.LastIndex(a.GetTypeUrl(), "/")+1:]
		if inner := structType(a); inner != "" {
			name = inner
		}
		what, ok := wasmExtensions[name]
		if !ok || builtIn(a) {
			return
		}
		hint := hint
		if name == wasmLoggerName {
			hint = "write it as a WasmFilter with place: accessLog"
		}
		d.Warn(d.root.Locate(steps), hint,
			"this Wasm %s goes to Envoy as it is: its module is not fetched, tried or primed here, and a bad one harms traffic", what)
	})
}

// structType returns the type that a TypedStruct holds, or "" for any other
// message.
func structType(a *anypb.Any) string {
	m, err := a.UnmarshalNew()
	if err != nil {
		return ""
	}
	url := ""
	switch s := m.(type) {
	case *udpav1.TypedStruct:
		url = s.GetTypeUrl()
	case *xdsv3.TypedStruct:
		url = s.GetTypeUrl()
	}
	return url[strings.LastIndex(url, "/")+1:]
}

// builtIn reports whether the plugin is built into Envoy, and has no module.
func builtIn(a *anypb.Any) bool {
	for _, m := range []interface {
		proto.Message
		GetConfig() *pluginv3.PluginConfig
	}{&wasmv3.Wasm{}, &networkv3.Wasm{}} {
		if a.UnmarshalTo(m) == nil {
			return m.GetConfig().GetVmConfig().GetRuntime() == "envoy.wasm.runtime.null"
		}
	}
	return false
}

// findAnys calls found for each Any in m, including nested ones, with its path.
func findAnys(m protoreflect.Message, at []string, found func(*anypb.Any, []string)) {
	if a, ok := m.Interface().(*anypb.Any); ok {
		found(a, at)
		if inner, err := a.UnmarshalNew(); err == nil {
			findAnys(inner.ProtoReflect(), at, found)
		}
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		steps := append(at[:len(at):len(at)], fd.TextName())
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
					findAnys(v.Message(), append(steps[:len(steps):len(steps)], key.String()), found)
					return true
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				findAnys(v.List().Get(i).Message(), append(steps[:len(steps):len(steps)], strconv.Itoa(i)), found)
			}
		default:
			findAnys(v.Message(), steps, found)
		}
		return true
	})
}
