package profile

import (
	"bytes"
	"compress/gzip"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

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

// Encode returns the profile in the format of pprof, compressed by gzip, with instructions
// and calls of each stack.
func (p *Profile) Encode() []byte {
	var b []byte
	for _, name := range []uint64{stringInstructions, stringCalls} {
		b = field(b, profileSampleType, numbers(valueTypeName, name, valueTypeUnit, stringCount))
	}
	names := []string{"", "instructions", "calls", "count"}
	ids := map[string]uint64{}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		var stack []byte
		for at := n; ; at = &p.Nodes[at.Parent] {
			id := ids[at.Function]
			if id == 0 {
				id = uint64(len(ids) + 1)
				ids[at.Function] = id
				names = append(names, at.Function)
			}
			stack = protowire.AppendVarint(stack, id)
			if at.Parent < 0 {
				break
			}
		}
		values := protowire.AppendVarint(protowire.AppendVarint(nil, n.Instructions), n.Calls)
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
		return nil // can't happen: writes to a buffer do not fail
	}
	return slices.Clip(out.Bytes())
}

func field(b []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
}

// numbers appends fields and their values.
func numbers(pairs ...uint64) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = protowire.AppendVarint(protowire.AppendTag(b, protowire.Number(pairs[i]), protowire.VarintType), pairs[i+1])
	}
	return b
}
