package resource

import (
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/module"
)

// Service is a service of Envoy itself, which nodes get from their bootstrap:
// it is never sent.
type Service struct {
	Name    string
	Version string // "": its module is missing
	SHA256  string // of its module
	Missing string // why its module is missing
}

// service is a compiled Service.
type service struct{ *Service }

func (s *service) same(p part) bool {
	o, ok := p.(*service)
	return ok && *s.Service == *o.Service
}

func serviceOf(f *module.Filter) *service {
	s := &Service{Name: f.Definition.Name}
	if f.Ready() {
		s.Version, s.SHA256 = filterVersion(f), f.Module.SHA256
	} else if s.Missing = f.Reason; s.Missing == "" {
		s.Missing = "its module was not had yet"
	}
	return &service{Service: s}
}

// ServiceConfig returns the bootstrap configuration of a service whose module
// is ready, without the source of the module. The version is that of the
// service.
func ServiceConfig(f *module.Filter) (config *pluginv3.WasmService, version string) {
	plugin := wasmConfig(f.Definition, nil).GetConfig()
	vm := plugin.GetVmConfig()
	vm.Code = nil
	vm.NackOnCodeCacheMiss = false // an Envoy that starts waits for the module
	return &pluginv3.WasmService{Config: plugin, Singleton: f.Definition.Singleton}, filterVersion(f)
}
