package resource

import (
	"slices"
	"strconv"
	"sync"

	"google.golang.org/protobuf/types/known/structpb"

	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"

	"wasmxds/definition"
)

// RuntimeLayer is the name of the runtime layer that an Envoy gets from here,
// if its bootstrap has it. It sets one value, samplingKey: how many of a
// million requests the Envoy reports.
const (
	RuntimeLayer = definition.RuntimeLayer
	samplingKey  = "wasmxds.sampling"
)

// rates are the possible sampling rates, per million requests. There are few,
// so that Envoys share resources.
var rates = []uint32{0, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000}

// SamplingRate returns the highest possible rate that is not above perMillion.
func SamplingRate(perMillion uint32) uint32 {
	i, found := slices.BinarySearch(rates, perMillion)
	if !found {
		i-- // perMillion is above the first rate, which is 0
	}
	return rates[i]
}

// Sampling returns the runtime layer of an Envoy that samples its requests at a
// rate of [SamplingRate]. Its version is the rate.
func Sampling(rate uint32) *Resource {
	i, found := slices.BinarySearch(rates, rate)
	if !found {
		panic("no rate of SamplingRate: " + strconv.FormatUint(uint64(rate), 10))
	}
	return samplings()[i]
}

var samplings = sync.OnceValue(func() []*Resource {
	var all []*Resource
	for _, rate := range rates {
		all = append(all, newRuntime(RuntimeLayer, strconv.FormatUint(uint64(rate), 10),
			map[string]*structpb.Value{samplingKey: structpb.NewNumberValue(float64(rate))}))
	}
	return all
})

// NoRuntime is the version of [OtherRuntime].
const NoRuntime = "none"

// OtherRuntime returns an empty runtime layer, for a name that this server has
// no values for. Envoy does not finish its start before it has an answer, and
// in state of the world the absence of the resource is none.
func OtherRuntime(name string) *Resource { return newRuntime(name, NoRuntime, nil) }

func newRuntime(name, version string, layer map[string]*structpb.Value) *Resource {
	r, err := New(RuntimeType, name, &runtimev3.Runtime{Name: name, Layer: &structpb.Struct{Fields: layer}})
	if err != nil {
		panic(err) // can't happen: a name and a number can be marshalled
	}
	r.Version = version
	return r
}
