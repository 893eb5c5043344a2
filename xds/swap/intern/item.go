package intern

import (
	"slices"
	"strings"

	"wasmxds/resource"
)

// Item is one resource that an Envoy has or should have.
type Item struct {
	Name    string
	Version string             // without the attempt
	Res     *resource.Resource // nil: listed by a reconnecting Envoy, with unknown bytes
	Filter  *resource.Filter   // for an ECDS resource that is a Wasm filter
	Slots   []string           // of a listener; the twins of the primer
	Static  []string           // of a listener: its slots for resources that are sent as written
	Written bool               // an ECDS resource that is sent as written; Envoy may reject it
}

// Is reports whether both are the same resource in the same version.
func (i Item) Is(o Item) bool { return i.Name == o.Name && i.Version == o.Version }

// PlainItem returns the item of a resource that needs nothing else. Its version has no
// attempt.
func PlainItem(r *resource.Resource) Item {
	return Item{Name: r.Name, Version: BaseVersion(r.Version), Res: r}
}

// ListenerItem returns the item of a listener, with its slots.
func ListenerItem(l *resource.Listener) Item {
	it := PlainItem(l.Resource)
	it.Slots, it.Static = l.Slots, l.Static
	return it
}

// Listener is the inverse of ListenerItem.
func (i Item) Listener() *resource.Listener {
	return &resource.Listener{Resource: i.Res, Slots: i.Slots, Static: i.Static}
}

// BaseVersion returns a resource's version without the attempt.
func BaseVersion(version string) string {
	v, _, _ := strings.Cut(version, ".")
	return v
}

// SameItems reports whether two sorted lists have the same names and versions.
func SameItems(a, b []Item) bool { return slices.EqualFunc(a, b, Item.Is) }

// Merge returns a with changed added and removed left out; all are sorted by name.
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
