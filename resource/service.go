package resource

import (
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/module"
)

// Service is a service of Envoy itself, which nodes have from their bootstrap: nothing
// is sent of it.
type Service struct {
	Name    string
	Version string // "": its module is not there
	SHA256  string // of its module
	Missing string // why its module is not there
}

// service is one, compiled.
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

// ServiceConfig is what a bootstrap has of a service whose module is there: all but
// where Envoy gets that. The version is the service's.
func ServiceConfig(f *module.Filter) (config *pluginv3.WasmService, version string) {
	plugin := wasmConfig(f.Definition, nil).GetConfig()
	vm := plugin.GetVmConfig()
	vm.Code = nil
	vm.NackOnCodeCacheMiss = false // Envoy has nothing to refuse when it starts: it waits
	return &pluginv3.WasmService{Config: plugin, Singleton: f.Definition.Singleton}, filterVersion(f)
}
