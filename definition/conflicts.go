package definition

import (
	"fmt"
	"slices"
)

// Conflicts reports why these definitions can't be used together. Each message
// is the same whatever other definitions are given. The definitions of a Set
// never conflict, since Merge ensures it. Conflicts is for other combinations,
// such as definitions that were in force at different times. It does not report
// what is wrong with one definition alone.
func Conflicts(filters []*Filter, listeners []*Listener, resources []*Resource) []string {
	f := &File{Filters: filters, Listeners: listeners, Resources: resources}
	set := &Set{Filters: filters, Listeners: listeners, Resources: resources}
	var found []string
	taken := map[string][]bound{}
	for _, b := range f.bounds() {
		for _, o := range taken[b.address] {
			if overlap(b.nodes, o.nodes) {
				found = append(found, fmt.Sprintf("the listeners %s and %s are both at %s", o.name, b.name, b.address))
			}
		}
		taken[b.address] = append(taken[b.address], b)
	}
	named := map[string]bool{}
	for _, t := range set.targets() {
		named[t.Name] = true
	}
	for _, filter := range filters {
		for _, m := range filter.Attach.Listeners {
			for _, name := range m.Names {
				if !named[name] {
					found = append(found, fmt.Sprintf("the filter %s is for the listener %s, which is not there", filter.Name, name))
				}
			}
		}
	}
	has, network := map[[2]string]bool{}, map[string]bool{}
	for _, filter := range filters {
		network[filter.Name] = filter.Place.Network
	}
	for _, r := range resources {
		has[[2]string{r.TypeURL, r.Name}] = true
		for _, wrong := range misfitsIn(r, network) {
			found = append(found, fmt.Sprintf("the listener %s: %s", r.Name, wrong))
		}
	}
	for _, m := range f.makes() {
		if has[[2]string{clusterType, m.name}] {
			found = append(found, fmt.Sprintf("a cluster %s is made for %s, and another is written", m.name, m.what))
		}
	}
	for _, r := range resources {
		for _, ref := range references(r) {
			if !has[[2]string{ref.of, ref.name}] {
				found = append(found, fmt.Sprintf("%s names the %s %s, which is not there", r.Name, ref.what, ref.name))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
