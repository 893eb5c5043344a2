package resource

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// A version is a hash of what a resource means: the hash of the module, its
// configuration, the place in a chain. It does not depend on the address of
// this xds-server's module server, nor on how this build encodes resources. If
// an Envoy comes from another xds-server, at another address or of another
// build, and has what it should have, it is sent nothing.
//
// Only values that differ from their defaults are included, so that a field
// that a later build adds changes no version as long as nobody uses it.
type meaning struct{ b []byte }

func meaningOf(kind string) *meaning { return new(meaning).text("kind", kind) }

func (m *meaning) text(name, value string) *meaning {
	if value != "" {
		m.add(name, []byte(value))
	}
	return m
}

func (m *meaning) texts(name string, values ...string) *meaning {
	for _, v := range values {
		m.add(name, []byte(v))
	}
	return m
}

func (m *meaning) number(name string, n int) *meaning {
	if n != 0 {
		m.add(name, binary.AppendVarint(nil, int64(n)))
	}
	return m
}

func (m *meaning) flag(name string, is bool) *meaning {
	if is {
		m.add(name, nil)
	}
	return m
}

// message adds a message that a user wrote, not one that this build made.
func (m *meaning) message(name string, p proto.Message) *meaning {
	if !p.ProtoReflect().IsValid() {
		return m
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("marshal %s, which was parsed: %v", name, err))
	}
	m.add(name, b)
	return m
}

// add prefixes names and values with their lengths, to keep them apart.
func (m *meaning) add(name string, value []byte) {
	for _, b := range [][]byte{[]byte(name), value} {
		m.b = binary.AppendUvarint(m.b, uint64(len(b)))
		m.b = append(m.b, b...)
	}
}

func (m *meaning) version() string { return VersionOf(m.b) }

// filterVersion returns the version of a filter's content. It does not include
// where the filter is attached, and in which order: that is part of the
// listeners that have its slot.
func filterVersion(f *module.Filter) string {
	d := f.Definition
	if d.Lua != nil {
		return meaningOf("lua filter").text("script", d.Lua.Script).text("onFailure", string(d.OnFailure)).version()
	}
	m := meaningOf("filter").text("module", f.Module.SHA256).
		message("config", d.Config).message("vmConfig", d.VMConfig).
		text("rootID", d.RootID).text("vmID", d.VMID).
		text("onFailure", string(d.OnFailure)).flag("accessLog", d.Logs()).flag("service", d.Serves()).flag("singleton", d.Singleton).
		flag("restricted", d.Allow != nil).texts("allow", d.Allow...).flag("computed", d.AllowComputed).
		texts("hostEnv", d.HostEnv...)
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		m.texts("env", name, d.Env[name])
	}
	if d.Module.Fetch == definition.Direct {
		m.text("url", d.Module.URL)
	}
	if d.Wasm != nil {
		m.message("wasm", withoutCode(d.Wasm))
	}
	return m.version()
}

// withoutCode returns a message as it was written, without its code, which the
// module stands for.
func withoutCode(w *wasmv3.Wasm) *wasmv3.Wasm {
	if w.GetConfig().GetVmConfig().GetCode() == nil {
		return w
	}
	w = proto.CloneOf(w)
	w.GetConfig().GetVmConfig().Code = nil
	return w
}

// listenerMeaning returns the meaning of a native listener without slots for
// filters.
func listenerMeaning(d *definition.Listener) *meaning {
	return meaningOf("listener").text("address", d.Address).flag("rds", true).
		direction(d.Direction).tls(d.TLS).text("accessLog", string(d.AccessLog))
}

// direction adds the direction of a listener if it is part of the Envoy
// resource.
func (m *meaning) direction(d definition.Direction) *meaning {
	if d == definition.Inbound || d == definition.Outbound {
		m.text("direction", string(d))
	}
	return m
}

// routesMeaning returns the meaning of a native listener's routes.
func routesMeaning(d *definition.Listener) *meaning {
	m := meaningOf("routes")
	for _, r := range d.Routes {
		m.text("route", r.Prefix).text("path", r.Path).text("regex", r.Regex).text("timeout", r.Timeout).
			texts("host", r.Hosts...).texts("method", r.Methods...).text("rewrite", r.Rewrite)
		for _, h := range r.Headers {
			m.texts("header", h.Name, string(h.Is), h.Value)
		}
		if to := r.Redirect; to != nil {
			m.texts("redirect", to.Scheme, to.Host, to.Path, to.Prefix).number("port", int(to.Port)).number("code", to.Code)
		}
		if r.Retries != nil {
			m.texts("retry on", r.Retries.On...).number("attempts", int(r.Retries.Attempts)).text("per try", r.Retries.PerTry)
		}
		for _, u := range r.Upstreams {
			if u.Plain() {
				m.text("upstream", u.Address).number("weight", int(u.Weight)).flag("tls", u.TLS)
			} else {
				m.text("cluster", u.ClusterName()).number("weight", int(u.Weight))
			}
		}
	}
	return m
}

// rawListenerMeaning returns the meaning of a raw listener. A Wasm filter in it
// has become a slot, of which only the name matters.
func rawListenerMeaning(m *listenerv3.Listener) (*meaning, error) {
	means, written := meaningOf("raw listener"), proto.CloneOf(m)
	err := changeManagers(written, func(hcm *hcmv3.HttpConnectionManager) {
		for _, chain := range filterChains(hcm) {
			for _, f := range *chain {
				for _, open := range []bool{false, true} {
					ours := definition.Slot(f.GetName(), open)
					if proto.Equal(f.GetConfigDiscovery(), ours.GetConfigDiscovery()) {
						means.text("slot", f.GetName()).flag("open", open)
						f.ConfigType = nil
					}
				}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for _, c := range definition.NetworkChains(written) {
		for _, f := range c.GetFilters() {
			for _, open := range []bool{false, true} {
				ours := definition.NetworkSlot(f.GetName(), open)
				if proto.Equal(f.GetConfigDiscovery(), ours.GetConfigDiscovery()) {
					means.text("network slot", f.GetName()).flag("open", open)
					f.ConfigType = nil
				}
			}
		}
	}
	return means.message("written", written), nil
}
