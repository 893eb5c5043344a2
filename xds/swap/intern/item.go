package intern

import (
	"slices"
	"strings"

	"wasmxds/resource"
)

// Item is one resource as an Envoy has it or is to have it.
type Item struct {
	Name    string
	Version string             // without the attempt
	Res     *resource.Resource // nil: told by a reconnecting Envoy, bytes unknown
	Filter  *resource.Filter   // of an ECDS resource that is a Wasm filter
	Slots   []string           // of a listener; of the primer: twins
	Static  []string           // of a listener: its slots for what is sent as it is written
	Written bool               // an ECDS resource that is sent as it is written; Envoy may refuse it
}

// Is tells whether both are the same resource in the same version.
func (i Item) Is(o Item) bool { return i.Name == o.Name && i.Version == o.Version }

// PlainItem is a resource that needs nothing else; its version is without the
// attempt.
func PlainItem(r *resource.Resource) Item {
	return Item{Name: r.Name, Version: BaseVersion(r.Version), Res: r}
}

// ListenerItem is a listener with the slots that it has.
func ListenerItem(l *resource.Listener) Item {
	it := PlainItem(l.Resource)
	it.Slots, it.Static = l.Slots, l.Static
	return it
}

// Listener is what listenerItem was made of.
func (i Item) Listener() *resource.Listener {
	return &resource.Listener{Resource: i.Res, Slots: i.Slots, Static: i.Static}
}

// BaseVersion cuts the attempt off a resource's version.
func BaseVersion(version string) string {
	v, _, _ := strings.Cut(version, ".")
	return v
}

// SameItems tells whether two sorted lists have the same names and versions.
func SameItems(a, b []Item) bool { return slices.EqualFunc(a, b, Item.Is) }

// Merge gives a with changed put in and removed taken out; all sorted by name.
func Merge(a, changed []Item, removed []string) []Item {
	out := make([]Item, 0, len(a)+len(changed))
	for _, it := range a {
		for len(changed) > 0 && changed[0].Name < it.Name {
			out, changed = append(out, changed[0]), changed[1:]
		}
		if len(changed) > 0 && changed[0].Name == it.Name {
			out, changed = append(out, changed[0]), changed[1:]
			continue
		}
		if !slices.Contains(removed, it.Name) {
			out = append(out, it)
		}
	}
	return append(out, changed...)
}
