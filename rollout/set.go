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

// Key is what a definition is known by: at most one of each is in a Set.
type Key struct {
	Kind string `json:"kind"` // FilterKind, ListenerKind, or the type URL of a raw resource of another type
	Name string `json:"name"`
}

// What native and raw definitions share, so that one can take the place of the
// other.
const (
	FilterKind   = "filter"   // Wasm filters, and raw extension configurations
	ListenerKind = "listener" // native and raw ones
)

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// Item is a definition, and of a filter its module, by what it means. Immutable.
type Item struct {
	Key
	// Hash stands for what Envoys get of it: not for where it is written, nor for
	// where its module comes from.
	Hash  string
	Nodes definition.Selector // that get it
	// Ready says that there is something to serve: a filter may have no module.
	Ready bool
	Value any // *module.Filter, *definition.Listener or *definition.Resource

	selector string // the same for Nodes that are written alike
}

// itemOf makes the item of one of these values.
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
	i.selector = fmt.Sprintf("%q", i.Nodes) // maps are printed by key
	var err error
	i.Hash, err = hashOf(value)
	return i, err
}

// items are definitions by key.
type items map[Key]*Item

// set is a module.Set by keys.
type set struct {
	items items
	whole *module.Set
	known map[any]*Item // by Value, so that what stays is not hashed again
}

// setOf makes a set; prev, which may be nil, is the one before.
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

// modules is the opposite of setOf. What holds for all that is wanted, whatever a
// node gets of it, is taken from whole.
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
