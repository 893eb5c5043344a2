package resource

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"

	"wasmxds/definition"
)

// Kept is the stored form of a Filter.
type Kept struct {
	Name      string               `json:"name"`
	Version   string               `json:"version"`
	OnFailure definition.OnFailure `json:"onFailure"`
	Slot      []byte               `json:"slot"` // envoy.config.core.v3.TypedExtensionConfig
	Sum       string               `json:"sum"`  // hash of the fields above
}

func (k Kept) sum() string {
	return meaningOf("kept").text("name", k.Name).text("version", k.Version).
		text("onFailure", string(k.OnFailure)).text("slot", string(k.Slot)).version()
}

// Keep returns the stored form of f. It must not be called for filters that are
// Missing, nor for those that Envoys fetch from an origin, because their
// clusters are not stored.
func (f *Filter) Keep() Kept {
	k := Kept{Name: f.Name, Version: f.Version, OnFailure: f.OnFailure, Slot: f.Slot(0).Value}
	k.Sum = k.sum()
	return k
}

// Restore is the inverse of Keep, with the current module server. It returns an
// error for anything that Keep did not write.
func (o Options) Restore(k Kept) (*Filter, error) {
	o = o.withDefaults()
	f := &Filter{Name: k.Name, ID: nameID(k.Name), OnFailure: k.OnFailure}
	var slot corev3.TypedExtensionConfig
	err := proto.Unmarshal(k.Slot, &slot)
	if err == nil && k.Sum != k.sum() {
		err = errors.New("its content is not what was written")
	}
	if err == nil {
		err = o.restore(f, slot.GetTypedConfig(), k.Version)
	}
	if err == nil {
		err = f.setNoops()
	}
	if err != nil {
		return nil, fmt.Errorf("restore filter %s: %w", k.Name, err)
	}
	return f, nil
}

// restore sets the content of f.
func (o Options) restore(f *Filter, content *anypb.Any, version string) error {
	var script luav3.Lua
	f.Lua = content.MessageIs(&script)
	f.TwinName = twinName(f.Name, f.Lua)
	if f.Lua {
		if err := content.UnmarshalTo(&script); err != nil {
			return err
		}
		return f.setLua(script.GetDefaultSourceCode().GetInlineString(), version)
	}
	var config wasmv3.Wasm
	if content.GetTypeUrl() == definition.NetworkWasmType {
		var network networkv3.Wasm
		if err := content.UnmarshalTo(&network); err != nil {
			return err
		}
		f.Network, config.Config = true, network.GetConfig()
	} else if err := content.UnmarshalTo(&config); err != nil {
		return err
	}
	code := config.GetConfig().GetVmConfig().GetCode().GetRemote()
	if code == nil {
		return errors.New("it has no remote code")
	}
	f.SHA256, code.HttpUri = code.Sha256, o.mirrored(code.Sha256)
	return f.set(&config, code, version)
}
