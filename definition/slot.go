package definition

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/printable"
)

// Types that a slot accepts.
const (
	wasmType = typePrefix + wasmName
	luaType  = typePrefix + luaName
	// noopType is a filter that, without mutations, does nothing. A slot that
	// fails open holds it until its own filter is ready.
	noopType = typePrefix + "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
)

// Slot returns an HTTP filter whose configuration comes over ADS, for the Wasm
// filter of that name. If open is set, it also accepts a filter that does
// nothing.
func Slot(name string, open bool) *hcmv3.HttpFilter {
	types := []string{wasmType}
	if open {
		types = append(types, noopType)
	}
	return slot(name, types...)
}

// LuaSlot returns a slot for a Lua filter, or a filter that does nothing.
func LuaSlot(name string) *hcmv3.HttpFilter { return slot(name, luaType, noopType) }

// AnySlot returns a slot for a Wasm filter, a Lua filter, or a filter that does
// nothing.
func AnySlot(name string) *hcmv3.HttpFilter { return slot(name, wasmType, luaType, noopType) }

func slot(name string, types ...string) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name:       name,
		ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: discovery(types)},
	}
}

// discovery returns the config source of a slot. It has no timeout: a listener
// that waits for a filter never goes live without it.
func discovery(types []string) *corev3.ExtensionConfigSource {
	return &corev3.ExtensionConfigSource{
		ConfigSource: &corev3.ConfigSource{
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: new(corev3.AggregatedConfigSource)},
			ResourceApiVersion:    corev3.ApiVersion_V3,
			InitialFetchTimeout:   durationpb.New(0),
		},
		TypeUrls: types,
	}
}

// SlotName returns the name of a filter from the place where it is written: the
// listener's name, what lies between, and the filter's own name. Different
// places have different names, and each is a valid name of an Envoy resource.
func SlotName(place ...string) string {
	escaped := make([]string, len(place))
	for i, part := range place {
		escaped[i] = escape(part)
	}
	name := strings.Join(escaped, "/")
	if len(name) <= maxSlotName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return strings.ToValidUTF8(name[:maxSlotName-17], "") + "~" + hex.EncodeToString(sum[:8])
}

// maxSlotName leaves room for an ordinal in the 253 bytes of a name.
const maxSlotName = 240

func escape(part string) string {
	var b strings.Builder
	for _, r := range part {
		if strings.ContainsRune(" /%#~", r) || !printable.Is(string(r)) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// IsSlotOf reports whether SlotName could have made the name of a slot from
// these names of a listener and a filter, in any chain.
func IsSlotOf(slot, listener, filter string) bool {
	return strings.HasPrefix(slot, escape(listener)+"/") && ownName(slot) == escape(filter)
}
