package resource

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"

	"wasmxds/definition"
)

// Kept is a Filter as it is written down.
type Kept struct {
	Name      string               `json:"name"`
	Version   string               `json:"version"`
	OnFailure definition.OnFailure `json:"onFailure"`
	Slot      []byte               `json:"slot"` // envoy.config.core.v3.TypedExtensionConfig
	Sum       string               `json:"sum"`  // of all this
}

func (k Kept) sum() string {
	return meaningOf("kept").text("name", k.Name).text("version", k.Version).
		text("onFailure", string(k.OnFailure)).text("slot", string(k.Slot)).version()
}

// Keep is what Restore makes f of. It is not for filters that are Missing, nor
// for those that Envoys fetch from an origin, whose cluster is not in it.
func (f *Filter) Keep() Kept {
	k := Kept{Name: f.Name, Version: f.Version, OnFailure: f.OnFailure, Slot: f.Slot(0).Value}
	k.Sum = k.sum()
	return k
}

// Restore is the opposite of Keep, for the module server that there is now.
// What is not as Keep wrote it is an error.
func (o Options) Restore(k Kept) (*Filter, error) {
	o = o.withDefaults()
	f := &Filter{Name: k.Name, TwinName: TwinPrefix + k.Name, ID: nameID(k.Name), OnFailure: k.OnFailure}
	var slot corev3.TypedExtensionConfig
	var config wasmv3.Wasm
	err := proto.Unmarshal(k.Slot, &slot)
	if err == nil && slot.GetTypedConfig().GetTypeUrl() == definition.NetworkWasmType {
		var network networkv3.Wasm
		err = slot.GetTypedConfig().UnmarshalTo(&network)
		f.Network, config.Config = true, network.GetConfig()
	} else if err == nil {
		err = slot.GetTypedConfig().UnmarshalTo(&config)
	}
	code := config.GetConfig().GetVmConfig().GetCode().GetRemote()
	if err == nil && k.Sum != k.sum() {
		err = errors.New("its content is not what was written")
	}
	if err == nil && code == nil {
		err = errors.New("it has no remote code")
	}
	if err == nil {
		f.SHA256, code.HttpUri = code.Sha256, o.mirrored(code.Sha256)
		err = f.set(&config, code, k.Version)
	}
	if err == nil {
		err = f.setNoops()
	}
	if err != nil {
		return nil, fmt.Errorf("restore filter %s: %w", k.Name, err)
	}
	return f, nil
}
