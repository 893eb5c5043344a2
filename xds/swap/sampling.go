package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// Sample sets how many of a million requests the Envoy reports from now on. An Envoy whose
// bootstrap does not have our runtime layer never reports any.
type Sample struct{ PerMillion uint32 }

func (s Sample) apply(m *Machine, _ time.Time) { m.sampling = resource.SamplingRate(s.PerMillion) }

// CanSample reports whether the Envoy subscribes to the runtime layer that controls
// sampling.
func (m *Machine) CanSample() bool { return m.subs[Runtime].names.Has(resource.RuntimeLayer) }

// maxRuntimes is the most runtime layers that are answered although this server has nothing
// in them.
const maxRuntimes = 16

// runtimeLayer returns the content of a runtime layer. Envoy subscribes to its layers
// before anything else, and starts when each was answered. Layers that are meant for
// another server are therefore answered as well, at once and with a content.
func (v *state) runtimeLayer(name string) (item, bool) {
	if name == resource.RuntimeLayer {
		return intern.PlainItem(resource.Sampling(v.sampling)), true
	}
	i, asked := slices.BinarySearch(v.subs[Runtime].names.All(), name)
	if !asked || i > maxRuntimes {
		return item{}, false
	}
	if have, ok := v.subs[Runtime].have.Find(name); ok && have.Version == resource.NoRuntime {
		return have, true
	}
	return intern.PlainItem(resource.OtherRuntime(name)), true
}
