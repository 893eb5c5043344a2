package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// Key identifies a definition: a Set has at most one of each.
type Key struct {
	Kind string `json:"kind"` // FilterKind, ListenerKind, or the type URL of any other raw resource
	Name string `json:"name"`
}

// Kinds that native and raw definitions share, so that one can replace the other.
const (
	FilterKind   = "filter"   // Wasm filters, and raw extension configurations
	ListenerKind = "listener" // native and raw ones
)

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// Item is a definition, with its module if it is a filter. It is immutable.
type Item struct {
	Key
	// Hash identifies what Envoys get for it. It does not depend on where the definition is
	// written or where its module comes from.
	Hash  string
	Nodes definition.Selector // nodes that get it
	// Ready means that there is something to serve: a filter may have no module.
	Ready bool
	Value any // *module.Filter, *definition.Listener or *definition.Resource

	selector string // equal for equal Nodes
}

// itemOf returns the item of a value.
func itemOf(value any) (*Item, error) {
	i := &Item{Value: value, Ready: true}
	switch v := value.(type) {
	case *module.Filter:
		i.Key, i.Nodes, i.Ready = Key{FilterKind, v.Definition.Name}, v.Definition.Attach.Nodes, v.Ready()
	case *definition.Listener:
		i.Key, i.Nodes = Key{ListenerKind, v.Name}, v.Nodes
	case *definition.Resource:
		i.Key = Key{v.TypeURL, v.Name}
		if _, is := v.Target(); is {
			i.Kind = ListenerKind
		}
		if _, is := v.Message.(*corev3.TypedExtensionConfig); is {
			i.Kind = FilterKind
		}
	}
	i.selector = fmt.Sprintf("%q", i.Nodes) // maps are printed in order of keys
	var err error
	i.Hash, err = hashOf(value)
	return i, err
}

// items are definitions by key.
type items map[Key]*Item

// set is a module.Set by key.
type set struct {
	items items
	whole *module.Set
	known map[any]*Item // by Value, so that unchanged ones are not hashed again
}

// setOf returns a set. prev is the previous one, or nil.
func setOf(prev *set, whole *module.Set) (*set, error) {
	s := &set{items: items{}, whole: whole, known: map[any]*Item{}}
	add := func(value any) error {
		var i *Item
		if prev != nil {
			i = prev.known[value]
		}
		if i == nil {
			var err error
			if i, err = itemOf(value); err != nil {
				return err
			}
		}
		s.items[i.Key], s.known[value] = i, i
		return nil
	}
	for _, f := range whole.Filters {
		if err := add(f); err != nil {
			return nil, err
		}
	}
	for _, l := range whole.Listeners {
		if err := add(l); err != nil {
			return nil, err
		}
	}
	for _, r := range whole.Resources {
		if err := add(r); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// modules is the inverse of setOf. It takes from whole what applies to the whole desired
// state, whatever a node gets.
func (s items) modules(whole *module.Set) *module.Set {
	out := &module.Set{Withheld: whole.Withheld, Problems: whole.Problems, Rollouts: whole.Rollouts, RolloutHoles: whole.RolloutHoles}
	for _, i := range s {
		switch v := i.Value.(type) {
		case *module.Filter:
			out.Filters = append(out.Filters, v)
		case *definition.Listener:
			out.Listeners = append(out.Listeners, v)
		case *definition.Resource:
			out.Resources = append(out.Resources, v)
		}
	}
	slices.SortFunc(out.Filters, func(a, b *module.Filter) int { return strings.Compare(a.Definition.Name, b.Definition.Name) })
	slices.SortFunc(out.Listeners, func(a, b *definition.Listener) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Resources, func(a, b *definition.Resource) int {
		return cmp.Or(strings.Compare(a.TypeURL, b.TypeURL), strings.Compare(a.Name, b.Name))
	})
	return out
}
