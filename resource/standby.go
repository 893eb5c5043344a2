package resource

import (
	"cmp"
	"slices"
	"strings"

	"wasmxds/definition"
)

// While a change is open, the versions of filters that it replaces or removes
// stand by on the nodes that have the change: each keeps a twin in the primer,
// and so its VM, which may take seconds to start. This makes it possible to
// undo the change at once.

// StandbyPrefix begins the name of a standby, followed by the filter's name. No
// filter's name begins with it.
const StandbyPrefix = definition.StandbyPrefix

// IsStandby reports whether a name is that of a standby.
func IsStandby(filter string) bool { return strings.HasPrefix(filter, StandbyPrefix) }

// StandbyName returns the name of f as a standby. As in names of twins, it
// distinguishes the kinds of filters.
func (f *Filter) StandbyName() string {
	if f.Lua {
		return StandbyPrefix + luaMark + f.Name
	}
	return StandbyPrefix + f.Name
}

// StandsFor returns the name of the filter that a standby stands for.
func StandsFor(standby string) string {
	return strings.TrimPrefix(strings.TrimPrefix(standby, StandbyPrefix), luaMark)
}

// Standby returns f, in its current version, as a filter that is in no
// listener: it is primed in a twin of its own, and serves nothing. It must not
// be called if f is Missing.
func (f *Filter) Standby() *Filter {
	if s := f.standby.Load(); s != nil {
		return s
	}
	s := &Filter{
		Name: f.StandbyName(), TwinName: TwinPrefix + f.StandbyName(),
		Version: f.Version, ID: f.ID, SHA256: f.SHA256, Direct: f.Direct, Lua: f.Lua, OnFailure: definition.Closed,
		ownVersion: f.ownVersion, encode: f.In,
	}
	s.twin = f.In(s.TwinName, 0)
	if err := s.setNoops(); err != nil {
		panic(err) // can't happen: only the name varies
	}
	if !f.standby.CompareAndSwap(nil, s) {
		return f.standby.Load()
	}
	return s
}

// replaced returns the filters that are in use in base, and that matched lacks
// or has in another version.
func (c *Catalog) replaced(base, matched []*holding) []*filter {
	has := func(f *filter) bool {
		return slices.ContainsFunc(matched, func(h *holding) bool {
			i, ok := slices.BinarySearchFunc(h.filters, f.Name, func(g *filter, name string) int { return cmp.Compare(g.Name, name) })
			return ok && h.filters[i].Version == f.Version
		})
	}
	var out []*filter
	for _, h := range base {
		if slices.Contains(matched, h) {
			continue
		}
		for _, f := range h.filters {
			if f.Missing == "" && !has(f) {
				out = append(out, f)
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	used := c.group(base)
	return slices.DeleteFunc(out, func(f *filter) bool { return used.Filter(f.Name) != f.Filter })
}

// standBy returns the Snapshot of matched, with standbys of the filters in base
// that it replaces.
func (c *Catalog) standBy(base, matched []*holding) *Snapshot {
	s, filters := c.group(matched), c.replaced(base, matched)
	if len(filters) == 0 {
		return s
	}
	out := &Snapshot{
		Clusters: slices.Clone(s.Clusters), Endpoints: s.Endpoints, Secrets: s.Secrets, Routes: s.Routes, Listeners: s.Listeners,
		Filters: s.Filters, Static: s.Static, Services: s.Services, ModuleServer: s.ModuleServer, Gate: c.gate, opts: s.opts, without: s,
	}
	for _, f := range filters {
		out.Standbys = append(out.Standbys, f.Standby())
		out.needs(f.origin)
	}
	if c.moduleServer != nil {
		out.needs(c.moduleServer)
		out.ModuleServer = c.moduleServer.Name
	}
	slices.SortFunc(out.Standbys, func(a, b *Filter) int { return cmp.Compare(a.Name, b.Name) })
	out.Primer = c.primer(out.Filters, out.Standbys)
	return out
}

// needs adds a cluster, unless it is nil or s has one of its name.
func (s *Snapshot) needs(cluster *Resource) {
	if cluster == nil {
		return
	}
	i, ok := slices.BinarySearchFunc(s.Clusters, cluster.Name, func(r *Resource, name string) int { return cmp.Compare(r.Name, name) })
	if !ok {
		s.Clusters = slices.Insert(s.Clusters, i, cluster)
	}
}
