package definition

// A filter with place service is not a filter but a service of Envoy itself
// (envoy.bootstrap.wasm): it runs from Envoy's start on, sees no requests, and
// can only be changed by a restart.

// Serves reports whether the filter is a service of Envoy itself.
func (f *Filter) Serves() bool { return f.Place.At == Service }

// service checks the settings of a service.
func (d *Doc) service(f *Filter) {
	if !f.Serves() {
		if f.Singleton {
			d.Problem("singleton", "", "is for place: service")
		}
		return
	}
	for _, field := range []string{"attach.direction", "attach.listeners", "attach.ports", "attach.routes", "attach.match"} {
		if d.root.At(field) != nil {
			d.Problem(field, "attach.nodes says which Envoys are to have it", "a service is in no listener")
		}
	}
	if d.root.Get("order") != nil {
		d.Problem("order", "", "services have no order")
	}
	if f.OnFailure == Reload {
		d.Problem("onFailure", "open, or closed for Envoys that wait for it when they start", "no request meets a service, and Envoy makes no new VM for one")
	}
	if f.Module.Fetch == Direct {
		d.Problem("module.fetch", "leave it out", "the module of a service comes from xds-server")
	}
	f.Attach.Listeners = nil
}
