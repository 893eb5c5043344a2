package dryrun

import (
	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/stream"
)

// defined are the metrics that a module has defined. As in Envoy, the lower two bits of a
// metric's id are its type, and a name that is defined again gets another id.
type defined struct {
	all  []*metric
	ids  map[uint32]*metric
	last [3]uint32 // last id of each type
}

type metric struct {
	kind  uint32
	name  string
	value uint64
}

const (
	counterMetric   = 0
	gaugeMetric     = 1
	histogramMetric = 2
	metricKinds     = 3 // bit mask
	nextMetric      = 4 // distance between ids of the same type
)

func (h *host) defineMetric(m api.Module, a args) status {
	name, found := in(m, a.u32(1), a.u32(2))
	kind := a.u32(0)
	switch {
	case !found:
		return invalidMemory
	case kind > histogramMetric:
		return badArgument
	case !h.room(len(name)) || len(h.metrics.ids) >= maxEntries:
		return internalFailure
	}
	if h.metrics.ids == nil {
		h.metrics.ids = map[uint32]*metric{}
		h.metrics.last = [3]uint32{counterMetric, gaugeMetric, histogramMetric}
	}
	h.metrics.last[kind] += nextMetric
	id := h.metrics.last[kind]
	h.metrics.ids[id] = h.metrics.named(kind, string(name))
	return wrote(put32(m, a.u32(3), id))
}

// named returns the metric with a name, and creates it if necessary.
func (m *defined) named(kind uint32, name string) *metric {
	for _, known := range m.all {
		if known.kind == kind && known.name == name {
			return known
		}
	}
	made := &metric{kind: kind, name: name}
	m.all = append(m.all, made)
	return made
}

func (h *host) incrementMetric(_ api.Module, a args) status {
	id, by := a.u32(0), int64(a[1])
	known := h.metrics.ids[id]
	switch kind := id & metricKinds; {
	case kind >= histogramMetric:
		return badArgument
	case known == nil:
		return notFound
	case kind == counterMetric && by <= 0:
		return badArgument
	}
	known.value += uint64(by)
	return ok
}

func (h *host) recordMetric(_ api.Module, a args) status {
	known := h.metrics.ids[a.u32(0)]
	if known == nil {
		return notFound
	}
	if known.kind == counterMetric {
		known.value += a[1]
	} else {
		known.value = a[1]
	}
	return ok
}

func (h *host) getMetric(m api.Module, a args) status {
	id := a.u32(0)
	known := h.metrics.ids[id]
	switch {
	case id&metricKinds >= histogramMetric:
		return badArgument
	case known == nil:
		return notFound
	}
	return wrote(put64(m, a.u32(1), known.value))
}

// told returns the metrics with their final values.
func (m *defined) told() []stream.Metric {
	var out []stream.Metric
	for _, known := range m.all {
		out = append(out, stream.Metric{Name: known.name, Type: []string{"counter", "gauge", "histogram"}[known.kind], Value: known.value})
	}
	return out
}
