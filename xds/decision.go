package xds

import (
	"slices"

	"wasmxds/resource"
)

// decision is what one Envoy gets, and why. It is made in this order:
//
//  1. The choice of its node: the base, and the changes whose waves have reached
//     it, as the Publication says.
//  2. A filter of that which crashes on this Envoy in the version that it is to
//     have is had in the last version that ran and that the Envoy neither crashes
//     on nor refuses, for as long as the crashing one is chosen.
//  3. A filter of that which the Envoy refuses while it runs no other version is
//     had likewise until all that it gets is in place. From then on it has
//     something to go on with, and the chosen version is tried again.
//
// A version that ran only where a change under way has reached is nothing to fall
// back on, see [proved]: no Envoy is ahead of its wave. Where there is nothing to
// fall back on, the chosen version stays. Envoys that are in the same situation
// have the same Snapshot. A decision is a plain value; its methods give another.
type decision struct {
	choice  resource.Choice
	chosen  *resource.Snapshot // by 1
	crashes []string           // versions of filters
	refuses []string           // versions of filters, for as long as that is chosen
	falls   bool               // whether 3 applies
}

// published is that by a Publication, or by another.
func (d decision) published(choice resource.Choice, chosen *resource.Snapshot) decision {
	d.choice = choice
	if chosen == d.chosen {
		return d
	}
	d.chosen, d.refuses, d.falls = chosen, nil, false
	d.crashes = slices.DeleteFunc(slices.Clone(d.crashes), func(version string) bool {
		return !slices.ContainsFunc(chosen.Filters, func(f *resource.Filter) bool { return f.Version == version })
	})
	return d
}

// refused is that the Envoy refuses versions and runs no other of these filters.
func (d decision) refused(versions []string) decision {
	d.refuses, d.falls = union(d.refuses, versions), true
	return d
}

// inPlace is that the Envoy runs all that it gets.
func (d decision) inPlace() decision {
	d.falls = false
	return d
}

// crashed is that a version of a filter is not to run on the Envoy any more.
func (d decision) crashed(version string) decision {
	d.crashes = union(d.crashes, []string{version})
	return d
}

// snapshot is what the Envoy gets.
func (d decision) snapshot(p *proved) *resource.Snapshot {
	avoid, replaced := union(d.crashes, d.refuses), d.crashes
	if d.falls {
		replaced = avoid
	}
	if len(replaced) == 0 {
		return d.chosen
	}
	return p.instead(d.chosen, replaced, avoid)
}

// union is a with what of b is not in it. It is a itself where that is nothing.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(slices.Clip(a), s)
		}
	}
	return a
}
