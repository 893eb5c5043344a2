package dryrun

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"google.golang.org/protobuf/encoding/protowire"
)

// profile has the instructions of each function, by who called it: a tree, in
// which the module is now at one place.
type profile struct {
	nodes []node
	at    []int32 // the functions that run, the innermost last
	count uint64  // of instructions, when that was so last
}

// node is a function called by another.
type node struct {
	parent       int32 // -1: by Envoy
	function     string
	instructions uint64
	calls        uint64
	below        map[string]int32 // nodes, by function
}

// Bounds of the tree: what is called there beyond is that of its caller. A sample
// has all functions above it, so that deep recursion takes room by its square.
const (
	maxNodes = 50_000
	maxDepth = 500
)

// spend adds the instructions since the last call or return to what runs.
func (p *profile) spend(now uint64) {
	if n := len(p.at); n > 0 && now > p.count {
		p.nodes[p.at[n-1]].instructions += now - p.count
	}
	p.count = now
}

func (p *profile) enter(function string, now uint64) {
	p.spend(now)
	if len(p.nodes) == 0 {
		p.nodes = append(p.nodes, node{parent: -1, below: map[string]int32{}})
	}
	above := int32(0)
	if n := len(p.at); n > 0 {
		above = p.at[n-1]
	}
	below, known := p.nodes[above].below[function]
	switch {
	case known:
	case len(p.nodes) >= maxNodes, len(p.at) >= maxDepth:
		below = above
	default:
		below = int32(len(p.nodes))
		p.nodes[above].below[function] = below
		p.nodes = append(p.nodes, node{parent: above, function: function, below: map[string]int32{}})
	}
	p.nodes[below].calls++
	p.at = append(p.at, below)
}

func (p *profile) leave(now uint64) {
	p.spend(now)
	if n := len(p.at); n > 0 {
		p.at = p.at[:n-1]
	}
}

// listeners has the functions of a module tell when they are called.
type listeners struct{}

func (listeners) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	if f.GoFunction() != nil {
		return nil // Envoy's
	}
	return listener{nameOf(f)}
}

// nameOf is the name that a module has for a function. Who strips a module of
// names leaves those under which it exports them, and numbers.
func nameOf(f api.FunctionDefinition) string {
	exported := ""
	if names := f.ExportNames(); len(names) > 0 {
		exported = names[0]
	}
	return cmp.Or(f.Name(), exported, fmt.Sprintf("function %d", f.Index()))
}

type listener struct{ name string }

func (l listener) Before(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	if h, p := profiled(ctx); p != nil {
		p.enter(l.name, h.count())
	}
}

func (l listener) After(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64) {
	if h, p := profiled(ctx); p != nil {
		p.leave(h.count())
	}
}

func (l listener) Abort(ctx context.Context, m api.Module, f api.FunctionDefinition, _ error) {
	l.After(ctx, m, f, nil)
}

func profiled(ctx context.Context) (*host, *profile) {
	h, is := ctx.Value(hostKey{}).(*host)
	if !is {
		return nil, nil
	}
	return h, h.profile
}

// Fields of the messages of pprof (perftools.profiles, profile.proto).
const (
	profileSampleType, profileSample, profileLocation, profileFunction, profileStrings, profileDefault = 1, 2, 4, 5, 6, 14

	sampleLocations, sampleValues   = 1, 2
	locationID, locationLine        = 1, 4
	lineFunction                    = 1
	functionID, functionName        = 1, 2
	valueTypeName, valueTypeUnit    = 1, 2
	stringInstructions, stringCalls = 1, 2
	stringCount                     = 3
)

// encode writes the profile as pprof reads it: gzipped.
func (p *profile) encode() []byte {
	var b []byte
	for _, name := range []uint64{stringInstructions, stringCalls} {
		b = field(b, profileSampleType, numbers(valueTypeName, name, valueTypeUnit, stringCount))
	}
	names := []string{"", "instructions", "calls", "count"}
	ids := map[string]uint64{}
	for i := range p.nodes {
		n := &p.nodes[i]
		if n.parent < 0 || n.calls == 0 {
			continue
		}
		var stack []byte
		for at := n; at.parent >= 0; at = &p.nodes[at.parent] {
			id := ids[at.function]
			if id == 0 {
				id = uint64(len(ids) + 1)
				ids[at.function] = id
				names = append(names, at.function)
			}
			stack = protowire.AppendVarint(stack, id)
		}
		values := protowire.AppendVarint(protowire.AppendVarint(nil, n.instructions), n.calls)
		b = field(b, profileSample, field(field(nil, sampleLocations, stack), sampleValues, values))
	}
	for id := range uint64(len(ids)) {
		b = field(b, profileLocation, field(numbers(locationID, id+1), locationLine, numbers(lineFunction, id+1)))
		b = field(b, profileFunction, numbers(functionID, id+1, functionName, id+stringCount+1))
	}
	for _, s := range names {
		b = field(b, profileStrings, []byte(s))
	}
	b = append(b, numbers(profileDefault, stringInstructions)...)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil || z.Close() != nil {
		return nil // never: it is a buffer
	}
	return slices.Clip(out.Bytes())
}

func field(b []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
}

// numbers writes fields and their values.
func numbers(pairs ...uint64) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = protowire.AppendVarint(protowire.AppendTag(b, protowire.Number(pairs[i]), protowire.VarintType), pairs[i+1])
	}
	return b
}
