package module

import (
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"

	"wasmxds/definition"
)

// Kept is the stored form of a definition and its module.
type Kept struct {
	Definition KeptDefinition `json:"definition"`
	Module     Info           `json:"module"`
	Trial      string         `json:"trial,omitempty"`
	// Accepted is what modules of a filter with allow: computed may use.
	Accepted accepted `json:"accepted,omitempty"`
}

// KeptDefinition has the messages of a Filter as bytes, since they can't be
// written as JSON. Its fields hide those with the same names.
type KeptDefinition struct {
	definition.Filter
	Config, VMConfig, Wasm []byte `json:",omitempty"`
}

// Keep returns the stored form of a definition and its module.
func Keep(f *definition.Filter, m Info) (Kept, error) {
	k := Kept{Definition: KeptDefinition{Filter: *f}, Module: m}
	return k, k.Definition.pack()
}

// Restore returns the stored definition.
func (k Kept) Restore() (*definition.Filter, error) {
	d := &k.Definition
	f := d.Filter
	var errs [3]error
	if d.Config != nil {
		f.Config = new(anypb.Any)
		errs[0] = proto.Unmarshal(d.Config, f.Config)
	}
	if d.VMConfig != nil {
		f.VMConfig = new(anypb.Any)
		errs[1] = proto.Unmarshal(d.VMConfig, f.VMConfig)
	}
	if d.Wasm != nil {
		f.Wasm = new(wasmv3.Wasm)
		errs[2] = proto.Unmarshal(d.Wasm, f.Wasm)
	}
	return &f, errors.Join(errs[:]...)
}

// pack encodes the messages into the fields that hide them.
func (d *KeptDefinition) pack() error {
	marshal := proto.MarshalOptions{Deterministic: true}
	var errs [3]error
	if d.Filter.Config != nil {
		d.Config, errs[0] = marshal.Marshal(d.Filter.Config)
	}
	if d.Filter.VMConfig != nil {
		d.VMConfig, errs[1] = marshal.Marshal(d.Filter.VMConfig)
	}
	if d.Filter.Wasm != nil {
		d.Wasm, errs[2] = marshal.Marshal(d.Filter.Wasm)
	}
	return errors.Join(errs[:]...)
}
