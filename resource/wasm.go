package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition"
)

const (
	wasmType = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
	runtime  = "envoy.wasm.runtime.v8"
)

// extension is an ECDS resource.
func extension(name string, config validatable) (*Resource, error) {
	if err := config.ValidateAll(); err != nil {
		return nil, fmt.Errorf("not valid for Envoy: %w", err)
	}
	value, err := pack(config)
	if err != nil {
		return nil, err
	}
	return check(ExtensionType, name, &corev3.TypedExtensionConfig{Name: name, TypedConfig: value})
}

// wasmConfig is the filter's configuration with its code. A definition that
// brings its own message keeps it but for the code and how it is fetched.
func wasmConfig(d *definition.Filter, code *corev3.RemoteDataSource) *wasmv3.Wasm {
	config := &wasmv3.Wasm{Config: plugin(d)}
	if d.Wasm != nil {
		config = proto.CloneOf(d.Wasm)
	}
	if config.Config == nil {
		config.Config = new(pluginv3.PluginConfig)
	}
	vm := config.Config.GetVmConfig()
	if vm == nil {
		vm = new(pluginv3.VmConfig)
		config.Config.Vm = &pluginv3.PluginConfig_VmConfig{VmConfig: vm}
	}
	if vm.Runtime == "" {
		vm.Runtime = runtime
	}
	vm.Code = &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Remote{Remote: code}}
	vm.NackOnCodeCacheMiss = true
	//lint:ignore SA1019 Envoy 1.36 knows this one alone, and passes over the other
	if p := config.Config; p.CapabilityRestrictionConfig == nil {
		//lint:ignore SA1019 see above
		p.CapabilityRestrictionConfig = vm.CapabilityRestrictionConfig
	}
	vm.VmId = ownVM(config.Config)
	return config
}

func plugin(d *definition.Filter) *pluginv3.PluginConfig {
	vm := &pluginv3.VmConfig{VmId: d.VMID, Configuration: d.VMConfig}
	if len(d.Env) > 0 || len(d.HostEnv) > 0 {
		vm.EnvironmentVariables = &pluginv3.EnvironmentVariables{HostEnvKeys: d.HostEnv, KeyValues: d.Env}
	}
	p := &pluginv3.PluginConfig{
		Name:          d.Name,
		RootId:        d.RootID,
		Configuration: d.Config,
		Vm:            &pluginv3.PluginConfig_VmConfig{VmConfig: vm},
		FailurePolicy: pluginv3.FailurePolicy_FAIL_CLOSED,
	}
	// The field of the same name in VmConfig is newer than Envoy 1.36, which
	// would ignore it; this one is taken over by all.
	//lint:ignore SA1019 see above
	p.CapabilityRestrictionConfig = capabilities(d)
	if d.AllowComputed {
		//lint:ignore SA1019 see above
		vm.CapabilityRestrictionConfig = p.CapabilityRestrictionConfig
	}
	switch {
	case d.OnFailure == definition.Open && !d.Logs() && !d.Serves():
		p.FailurePolicy = pluginv3.FailurePolicy_FAIL_OPEN
	case d.OnFailure == definition.Reload, d.Logs(): // of a trap in a logger nothing tells
		p.FailurePolicy = pluginv3.FailurePolicy_FAIL_RELOAD
		p.ReloadConfig = &pluginv3.ReloadConfig{Backoff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(100 * time.Millisecond),
			MaxInterval:  durationpb.New(5 * time.Second),
		}}
	}
	return p
}

// ownVM gives the id of the plugin's VM: as written, or, where the plugin has
// what some Envoys don't tell VMs or plugins apart by, with eight hex digits of
// the hash of that behind a "#".
//
// Envoy finds a VM that runs already by its id, its VM configuration and its
// code, and in it a plugin by its name, root id and configuration. Two plugins
// that differ in nothing else share the VM, and the plugin, of whichever came
// first: what else was changed never arrives, without an error anywhere.
// ARCHITECTURE.md has which version leaves out what; TestFieldAlone shows it.
// The price: data and queues that are shared by vm_id are shared only by
// plugins that are alike in all this.
func ownVM(p *pluginv3.PluginConfig) string {
	vm, plugin := unkeyed(p)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(vm)
	if err != nil {
		return p.GetVmConfig().GetVmId() // what can't be marshalled is refused with the whole plugin
	}
	c, err := proto.MarshalOptions{Deterministic: true}.Marshal(plugin)
	if err != nil || len(b)+len(c) == 0 {
		return p.GetVmConfig().GetVmId()
	}
	if len(c) > 0 {
		b = append(append(b, 0), c...) // no field begins with a 0: it ends the first message
	}
	sum := sha256.Sum256(b)
	return p.GetVmConfig().GetVmId() + "#" + hex.EncodeToString(sum[:4])
}

// unkeyed is what p has that some supported Envoy has in neither key. What is
// left at, or written as, its default is not in it.
func unkeyed(p *pluginv3.PluginConfig) (*pluginv3.VmConfig, *pluginv3.PluginConfig) {
	vm := &pluginv3.VmConfig{
		EnvironmentVariables:        p.GetVmConfig().GetEnvironmentVariables(),
		CapabilityRestrictionConfig: p.GetVmConfig().GetCapabilityRestrictionConfig(),
		AllowPrecompiled:            p.GetVmConfig().GetAllowPrecompiled(),
	}
	if r := p.GetVmConfig().GetRuntime(); r != runtime {
		vm.Runtime = r
	}
	//lint:ignore SA1019 what is deprecated has its effect all the same
	plugin := &pluginv3.PluginConfig{FailOpen: p.GetFailOpen()}
	if p.GetAllowOnHeadersStopIteration().GetValue() {
		plugin.AllowOnHeadersStopIteration = p.GetAllowOnHeadersStopIteration()
	}
	//lint:ignore SA1019 Envoy 1.36 knows only this one
	switch restriction := p.GetCapabilityRestrictionConfig(); {
	case vm.CapabilityRestrictionConfig == nil:
		vm.CapabilityRestrictionConfig = restriction
	case !proto.Equal(vm.CapabilityRestrictionConfig, restriction):
		//lint:ignore SA1019 see above
		plugin.CapabilityRestrictionConfig = restriction
	}
	return vm, plugin
}

// capabilities allows what was computed of the module, or the host calls that are
// named, and then also what is no call of the filter's own will: Envoy's callbacks,
// which it holds to the same list (without proxy_on_request_headers allowed, a filter
// would silently see no request), and WASI, which languages need to start and which in
// Envoy reaches nothing but the log, the clock and the plugin's own environment.
func capabilities(d *definition.Filter) *pluginv3.CapabilityRestrictionConfig {
	if d.Allow == nil && !d.AllowComputed {
		return nil
	}
	lists := [][]string{d.Allow, definition.Callbacks, wasi}
	if d.AllowComputed {
		lists = [][]string{d.Allow, noCapability}
	}
	allowed := make(map[string]*pluginv3.SanitizationConfig)
	for _, names := range lists {
		for _, name := range names {
			allowed[name] = new(pluginv3.SanitizationConfig)
		}
	}
	return &pluginv3.CapabilityRestrictionConfig{AllowedCapabilities: allowed}
}

// noCapability is the name of none: Envoy takes an empty list for all.
var noCapability = []string{"computed"}

// wasi are the calls of wasi_snapshot_preview1 that Envoy has.
var wasi = []string{
	"fd_write", "fd_read", "fd_seek", "fd_close", "fd_fdstat_get", "environ_get", "environ_sizes_get",
	"args_get", "args_sizes_get", "proc_exit", "clock_time_get", "random_get", "sched_yield", "poll_oneoff",
	"path_open", "fd_prestat_get", "fd_prestat_dir_name", "path_create_directory", "path_remove_directory",
	"path_unlink_file",
}
