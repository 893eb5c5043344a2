package source

import (
	"slices"
	"strings"

	"wasmxds/definition"
)

// adopt adds to the set files that were good until now and became invalid,
// because they name a listener, or their routes a filter, whose file was
// deleted. Their filters may well belong in other listeners, too, which must
// not lose them, nor must listeners disappear. It does not add files that are
// invalid for another reason (a name or an address that is taken).
func (m *merger) adopt(set *definition.Set, files, others []*definition.File) *definition.Set {
	for _, f := range others {
		with := append(slices.Clip(files), definition.Detached(f, files))
		merged, problems := m.merge(with)
		if slices.ContainsFunc(problems, func(p definition.Problem) bool { return !p.Warning }) {
			continue
		}
		files, set = with, union(set, f, merged)
	}
	return set
}

// union returns a set with a file's definitions added. Variants, resources and
// tests are taken from the whole, since a variant or a resource may come from
// several files, and tests have an order.
func union(set *definition.Set, f *definition.File, whole *definition.Set) *definition.Set {
	isVariant := func(f *definition.Filter) bool { return f.VariantOf != "" }
	more := &definition.Set{
		Filters:   slices.Concat(slices.DeleteFunc(slices.Clone(set.Filters), isVariant), f.Filters),
		Listeners: slices.Concat(set.Listeners, f.Listeners),
		Resources: whole.Resources,
		Rollouts:  slices.Concat(set.Rollouts, f.Rollouts),
		Tests:     whole.Tests,
	}
	for _, filter := range whole.Filters {
		if isVariant(filter) {
			more.Filters = append(more.Filters, filter)
		}
	}
	slices.SortFunc(more.Filters, func(a, b *definition.Filter) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(more.Listeners, func(a, b *definition.Listener) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(more.Rollouts, func(a, b *definition.Rollout) int { return strings.Compare(a.Name, b.Name) })
	return more
}

// equal reports whether two sets have identical definitions.
func equal(a, b *definition.Set) bool {
	return slices.Equal(a.Filters, b.Filters) && slices.Equal(a.Listeners, b.Listeners) && slices.Equal(a.Resources, b.Resources) &&
		slices.Equal(a.Rollouts, b.Rollouts) && slices.Equal(a.Tests, b.Tests) && sameHoles(a, b)
}
