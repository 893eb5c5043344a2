package resource

import (
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition"
)

// keyed lists the fields of a Wasm filter by what makes their changes
// effective: Envoy's own keys, our VM id, or nothing, because Envoy reads them
// outside of VM and plugin. TestFieldAlone of package e2e shows the effect of
// each. Add new fields of Envoy's API here and there.
var keyed = map[string][]string{
	"by Envoy":        {"config", "name", "root_id", "configuration", "vm_config", "vm_config.vm_id", "vm_config.configuration", "vm_config.code"},
	"by ours":         {"fail_open", "capability_restriction_config", "allow_on_headers_stop_iteration", "vm_config.runtime", "vm_config.allow_precompiled", "vm_config.environment_variables", "vm_config.capability_restriction_config"},
	"outside of both": {"failure_policy", "reload_config", "vm_config.nack_on_code_cache_miss"},
}

func TestFieldsAreKnown(t *testing.T) {
	known := slices.Concat(keyed["by Envoy"], keyed["by ours"], keyed["outside of both"])
	look := func(prefix string, m proto.Message) {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if name := prefix + string(fields.Get(i).Name()); !slices.Contains(known, name) {
				t.Errorf("%s is new: does a change of it alone take effect, in every version of Envoy?", name)
			}
		}
	}
	look("", new(wasmv3.Wasm))
	look("", new(pluginv3.PluginConfig))
	look("vm_config.", new(pluginv3.VmConfig))
}

// TestOwnVM checks that exactly what Envoy's keys omit is in the VM's id.
func TestOwnVM(t *testing.T) {
	id := func(config string) string {
		t.Helper()
		p := new(pluginv3.PluginConfig)
		if err := protojson.Unmarshal([]byte(config), p); err != nil {
			t.Fatal(err)
		}
		return ownVM(p)
	}
	plain := `{"vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8"}}`
	if got := id(plain); got != "v" {
		t.Errorf("the id is %q, want it as written", got)
	}
	for _, same := range []string{
		`{"name": "n", "root_id": "r", "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8"}}`,
		`{"failure_policy": "FAIL_OPEN", "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8"}}`,
		`{"allow_on_headers_stop_iteration": false, "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8"}}`,
	} {
		if got := id(same); got != "v" {
			t.Errorf("%s: the id is %q, want it as written", same, got)
		}
	}
	seen := map[string]string{"v": plain}
	for _, other := range []string{
		`{"fail_open": true, "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8"}}`,
		`{"allow_on_headers_stop_iteration": true, "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8"}}`,
		`{"capability_restriction_config": {"allowed_capabilities": {"a": {}}}, "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8"}}`,
		`{"capability_restriction_config": {"allowed_capabilities": {"a": {}}}, "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8", "capability_restriction_config": {"allowed_capabilities": {"b": {}}}}}`,
		`{"capability_restriction_config": {"allowed_capabilities": {"b": {}}}, "vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8", "capability_restriction_config": {"allowed_capabilities": {"a": {}}}}}`,
		`{"vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8", "allow_precompiled": true}}`,
		`{"vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.wamr"}}`,
		`{"vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8", "environment_variables": {"key_values": {"A": "b"}}}}`,
		`{"vm_config": {"vm_id": "v", "runtime": "envoy.wasm.runtime.v8", "environment_variables": {"host_env_keys": ["A"]}}}`,
	} {
		got := id(other)
		if known, ok := seen[got]; ok {
			t.Errorf("%s and %s have one id, %q", known, other, got)
		}
		seen[got] = other
	}
}

// TestCapabilities checks that a computed list is used unchanged, in the field
// of each version of Envoy, and that a list of host calls also allows callbacks
// and WASI. An empty list is never written, because Envoy takes it for all.
func TestCapabilities(t *testing.T) {
	allowed := func(c *pluginv3.CapabilityRestrictionConfig) []string {
		return slices.Sorted(maps.Keys(c.GetAllowedCapabilities()))
	}
	for name, test := range map[string]struct {
		of   definition.Filter
		want []string
		vm   bool // also in VmConfig
	}{
		"all":      {definition.Filter{}, nil, false},
		"listed":   {definition.Filter{Allow: []string{"proxy_log"}}, slices.Sorted(slices.Values(slices.Concat([]string{"proxy_log"}, definition.Callbacks, wasi))), false},
		"computed": {definition.Filter{AllowComputed: true, Allow: []string{"fd_write", "proxy_log"}}, []string{"computed", "fd_write", "proxy_log"}, true},
		"nothing":  {definition.Filter{AllowComputed: true}, []string{"computed"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := plugin(&test.of)
			//lint:ignore SA1019 what Envoy 1.36 reads
			old, vm := p.GetCapabilityRestrictionConfig(), p.GetVmConfig().GetCapabilityRestrictionConfig()
			if got := allowed(old); !slices.Equal(got, test.want) {
				t.Errorf("allowed %q, want %q", got, test.want)
			}
			if got := proto.Equal(old, vm); got != test.vm && test.want != nil {
				t.Errorf("in VmConfig as well: %v", got)
			}
			if test.want == nil && (old != nil || vm != nil) {
				t.Error("restricted")
			}
		})
	}
}
