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

// Types that a slot may take.
const (
	wasmType = typePrefix + wasmName
	luaType  = typePrefix + luaName
	// noopType is a filter that, without mutations, does nothing: what a slot
	// that fails open holds while there is nothing better.
	noopType = typePrefix + "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
)

// Slot is an HTTP filter whose configuration comes over ADS, for a Wasm filter
// of that name; open: or for one that does nothing.
func Slot(name string, open bool) *hcmv3.HttpFilter {
	types := []string{wasmType}
	if open {
		types = append(types, noopType)
	}
	return slot(name, types...)
}

// LuaSlot is one for a Lua filter, or one that does nothing.
func LuaSlot(name string) *hcmv3.HttpFilter { return slot(name, luaType, noopType) }

// AnySlot is one for a Wasm filter, a Lua filter, or one that does nothing.
func AnySlot(name string) *hcmv3.HttpFilter { return slot(name, wasmType, luaType, noopType) }

func slot(name string, types ...string) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name:       name,
		ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: discovery(types)},
	}
}

// discovery is where a slot gets its filter from. Without a time limit: a listener
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

// SlotName is the name of a filter by where it is written: its listener's
// name, what lies between, its own name. Different places have different
// names, each as an Envoy resource may be called.
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

// IsSlotOf says whether a slot has the name that SlotName gives to a filter of
// that name, whichever chain it is in.
func IsSlotOf(slot, listener, filter string) bool {
	return strings.HasPrefix(slot, escape(listener)+"/") && ownName(slot) == escape(filter)
}
