package source

import (
	"cmp"
	"slices"
	"strings"

	"wasmxds/definition"
)

// adopt adds to a set what a file brought to the last one and can still bring,
// though something is wrong with it now: it names a listener whose file was
// deleted, and the filter belongs in others, too. A file that has a name of
// the set's is not added.
func adopt(set *definition.Set, f *definition.File) *definition.Set {
	taken := names(&definition.File{Filters: set.Filters, Listeners: set.Listeners, Resources: set.Resources})
	for name := range names(f) {
		if taken[name] {
			return set
		}
	}
	more := &definition.Set{
		Filters:   slices.Concat(set.Filters, f.Filters),
		Listeners: slices.Concat(set.Listeners, f.Listeners),
		Resources: slices.Concat(set.Resources, f.Resources),
	}
	slices.SortFunc(more.Filters, func(a, b *definition.Filter) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(more.Listeners, func(a, b *definition.Listener) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(more.Resources, func(a, b *definition.Resource) int {
		return cmp.Or(strings.Compare(a.TypeURL, b.TypeURL), strings.Compare(a.Name, b.Name))
	})
	return more
}

// names are what a file's definitions are called, by type.
func names(f *definition.File) map[[2]string]bool {
	const (
		listener  = "type.googleapis.com/envoy.config.listener.v3.Listener"
		extension = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	)
	names := map[[2]string]bool{}
	for _, d := range f.Filters {
		names[[2]string{extension, d.Name}] = true
	}
	for _, d := range f.Listeners {
		names[[2]string{listener, d.Name}] = true
	}
	for _, d := range f.Resources {
		names[[2]string{d.TypeURL, d.Name}] = true
	}
	return names
}

// equal says whether two sets have the very same definitions.
func equal(a, b *definition.Set) bool {
	return slices.Equal(a.Filters, b.Filters) && slices.Equal(a.Listeners, b.Listeners) && slices.Equal(a.Resources, b.Resources)
}
