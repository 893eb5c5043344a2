package xds

import (
	"slices"

	"wasmxds/resource"
)

// decision is what one Envoy gets, and why. It is made in this order:
//
//  1. The choice of its node: the base, and the changes whose waves have reached it, as the
//     Publication says.
//  2. If a filter's chosen version crashes on this Envoy, the filter is replaced by the last
//     version that ran and that the Envoy neither crashes on nor rejects, for as long as the
//     crashing version is chosen.
//  3. If the Envoy rejects a filter's chosen version while it runs no other version, the filter
//     is replaced in the same way until everything that the Envoy gets is in place. From then
//     on it has a working version, and the chosen one is tried again.
//
// A version that ran only where a change in progress has reached is no replacement, see
// [proved]: no Envoy is ahead of its wave. If there is no replacement, the chosen version
// stays. Envoys in the same situation share a Snapshot. A decision is a plain value; its
// methods return a new one.
type decision struct {
	choice  resource.Choice
	chosen  *resource.Snapshot // by step 1
	crashes []string           // versions of filters that crash
	refuses []string           // versions of filters that are rejected, while chosen is the same
	falls   bool               // step 3 applies
}

// published returns the decision after a new Publication.
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

// refused returns the decision after the Envoy has rejected versions of filters that it
// runs no other version of.
func (d decision) refused(versions []string) decision {
	d.refuses, d.falls = union(d.refuses, versions), true
	return d
}

// inPlace returns the decision once the Envoy runs everything that it gets.
func (d decision) inPlace() decision {
	d.falls = false
	return d
}

// crashed returns the decision after a version of a filter crashed too often on the Envoy.
func (d decision) crashed(version string) decision {
	d.crashes = union(d.crashes, []string{version})
	return d
}

// snapshot returns what the Envoy gets.
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

// union returns a and those of b that are not in it. If there are none, it returns a
// itself.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(slices.Clip(a), s)
		}
	}
	return a
}
