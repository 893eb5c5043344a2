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

// extension returns an ECDS resource.
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

// wasmConfig returns the filter's configuration with its code. If the
// definition has its own message, only the code and how it is fetched are
// replaced.
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

// Local is the filter's configuration for an Envoy that reads the module from a file: all
// else is as the fleet gets it.
func Local(d *definition.Filter, file string) (*wasmv3.Wasm, error) {
	config := wasmConfig(d, nil)
	vm := config.Config.GetVmConfig()
	vm.NackOnCodeCacheMiss = false
	vm.Code = &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{
		Specifier: &corev3.DataSource_Filename{Filename: file},
	}}}
	if err := config.ValidateAll(); err != nil {
		return nil, fmt.Errorf("filter %s is not valid for Envoy: %w", d.Name, err)
	}
	return config, nil
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
	// would ignore it. All versions accept this one.
	//lint:ignore SA1019 see above
	p.CapabilityRestrictionConfig = capabilities(d)
	if d.AllowComputed {
		//lint:ignore SA1019 see above
		vm.CapabilityRestrictionConfig = p.CapabilityRestrictionConfig
	}
	switch {
	case d.OnFailure == definition.Open && !d.Logs() && !d.Serves():
		p.FailurePolicy = pluginv3.FailurePolicy_FAIL_OPEN
	case d.OnFailure == definition.Reload, d.Logs(): // nothing reports a trap in a logger
		p.FailurePolicy = pluginv3.FailurePolicy_FAIL_RELOAD
		p.ReloadConfig = &pluginv3.ReloadConfig{Backoff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(100 * time.Millisecond),
			MaxInterval:  durationpb.New(5 * time.Second),
		}}
	}
	return p
}

// ownVM returns the id of the plugin's VM: the id as written or, if the plugin
// has fields that some Envoys ignore when they compare VMs or plugins, the id
// followed by "#" and eight hex digits of a hash of these fields.
//
// Envoy finds a running VM by its id, its VM configuration and its code, and a
// plugin in it by its name, root id and configuration. Two plugins that differ
// in nothing else share the VM, and the plugin, of whichever came first: the
// change of other fields has no effect, and there is no error. ARCHITECTURE.md
// lists which version ignores which fields; TestFieldAlone shows it. The cost:
// plugins share data and queues by vm_id only if all of these fields are the
// same.
func ownVM(p *pluginv3.PluginConfig) string {
	vm, plugin := unkeyed(p)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(vm)
	if err != nil {
		return p.GetVmConfig().GetVmId() // what can't be marshalled is rejected with the whole plugin
	}
	c, err := proto.MarshalOptions{Deterministic: true}.Marshal(plugin)
	if err != nil || len(b)+len(c) == 0 {
		return p.GetVmConfig().GetVmId()
	}
	if len(c) > 0 {
		b = append(append(b, 0), c...) // no field begins with a 0, so it separates the messages
	}
	sum := sha256.Sum256(b)
	return p.GetVmConfig().GetVmId() + "#" + hex.EncodeToString(sum[:4])
}

// unkeyed returns the fields of p that some supported Envoy includes in neither
// key, except for those with their default values.
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

// capabilities allows what was computed for the module, or the host calls that
// are named. In the latter case, it also allows what the filter does not choose
// to call: Envoy's callbacks, to which Envoy applies the same list (without
// proxy_on_request_headers, a filter would silently see no request), and WASI,
// which languages need to start and which in Envoy reaches only the log, the
// clock and the plugin's own environment.
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

// noCapability is a name that matches nothing: Envoy takes an empty list for
// all.
var noCapability = []string{"computed"}

// wasi are the functions of wasi_snapshot_preview1 that Envoy has.
var wasi = []string{
	"fd_write", "fd_read", "fd_seek", "fd_close", "fd_fdstat_get", "environ_get", "environ_sizes_get",
	"args_get", "args_sizes_get", "proc_exit", "clock_time_get", "random_get", "sched_yield", "poll_oneoff",
	"path_open", "fd_prestat_get", "fd_prestat_dir_name", "path_create_directory", "path_remove_directory",
	"path_unlink_file",
}
