package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// Sample says of how many of a million requests the Envoy is to tell, from now on.
// An Envoy whose bootstrap has no runtime layer of ours never does.
type Sample struct{ PerMillion uint32 }

func (s Sample) apply(m *Machine, _ time.Time) { m.sampling = resource.SamplingRate(s.PerMillion) }

// CanSample tells whether the Envoy asks for the runtime layer by which it is told to
// sample.
func (m *Machine) CanSample() bool { return m.subs[Runtime].names.Has(resource.RuntimeLayer) }

// maxRuntimes bounds how many runtime layers are answered that this server has
// nothing to say of.
const maxRuntimes = 16

// runtimeLayer is what an Envoy is to have of a runtime layer. Envoy asks for its
// layers before it asks for anything else, and starts when each was answered: also
// those that have another server in mind are, at once, and with a content.
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
