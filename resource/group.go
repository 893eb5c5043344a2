package resource

import (
	"cmp"
	"maps"
	"slices"
)

// build builds the Snapshot of the nodes that exactly these holdings match.
func (c *Catalog) build(matched []*holding) *Snapshot {
	var have holding
	for _, h := range matched {
		have.filters = append(have.filters, h.filters...)
		have.services = append(have.services, h.services...)
		have.listeners = append(have.listeners, h.listeners...)
		have.raws = append(have.raws, h.raws...)
	}
	slices.SortFunc(have.filters, func(a, b *filter) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Name, b.Name))
	})
	s := &Snapshot{opts: c.opts}
	for _, of := range have.services {
		s.Services = append(s.Services, of.Service)
	}
	slices.SortFunc(s.Services, func(a, b *Service) int { return cmp.Compare(a.Name, b.Name) })
	clusters := make(map[string]*Resource)
	used := make(map[*filter]bool)
	// The first Lua filter replaces the listeners that it is attached to. All
	// listeners that are sent from then on also have slots for further Lua
	// filters.
	lua := slices.ContainsFunc(have.filters, func(f *filter) bool { return f.Lua })
	for _, l := range have.listeners {
		var in []*filter
		for _, f := range have.filters {
			takes := l.takes(f)
			if takes {
				in = append(in, f)
			}
			used[f] = used[f] || takes || !f.Lua && slices.Contains(l.own, f.Name)
		}
		out := l.holds(in, c.opts.Spares, lua)
		s.Listeners = append(s.Listeners, out)
		if r := out.RouteConfig(out.RoutesName, out.mentions()); r != nil {
			s.Routes = append(s.Routes, r)
		}
		for _, r := range l.clusters {
			clusters[r.Name] = r
		}
		s.Secrets = append(s.Secrets, l.secrets...)
	}
	var filters []*filter
	for _, f := range have.filters {
		// Those attached to nothing are for listeners that this server does not
		// see: listeners in a bootstrap, whose slots request a filter by name.
		if used[f] || f.withheld == nil && (len(f.attach.Listeners) == 0 || len(have.listeners) == 0) {
			filters = append(filters, f)
		}
	}
	c.addFilters(s, filters, clusters)
	addRaws(s, have.raws, clusters)
	s.Clusters = slices.Collect(maps.Values(clusters))
	slices.SortFunc(s.Listeners, func(a, b *Listener) int { return cmp.Compare(a.Name, b.Name) })
	for _, rs := range [][]*Resource{s.Clusters, s.Endpoints, s.Secrets, s.Routes, s.Static} {
		slices.SortFunc(rs, func(a, b *Resource) int { return cmp.Compare(a.Name, b.Name) })
	}
	return s
}

func (c *Catalog) addFilters(s *Snapshot, filters []*filter, clusters map[string]*Resource) {
	if len(filters) == 0 {
		return
	}
	slices.SortFunc(filters, func(a, b *filter) int { return cmp.Compare(a.Name, b.Name) })
	for _, f := range filters {
		s.Filters = append(s.Filters, f.Filter)
		if f.origin != nil {
			clusters[f.origin.Name] = f.origin
		}
	}
	if c.moduleServer != nil {
		clusters[c.moduleServer.Name] = c.moduleServer
		s.ModuleServer = c.moduleServer.Name
	}
	s.Primer, s.Gate = c.primer(s.Filters, nil), c.gate
}

// addRaws adds raw resources. No raw cluster replaces one that was made here:
// definitions that would require it are rejected.
func addRaws(s *Snapshot, raws []*raw, clusters map[string]*Resource) {
	for _, r := range raws {
		switch r.TypeURL {
		case ClusterType:
			if clusters[r.Name] == nil {
				clusters[r.Name] = r.Resource
			}
		case EndpointType:
			s.Endpoints = append(s.Endpoints, r.Resource)
		case SecretType:
			s.Secrets = append(s.Secrets, r.Resource)
		case RouteType:
			s.Routes = append(s.Routes, r.Resource)
		case ExtensionType:
			s.Static = append(s.Static, r.Resource)
		}
	}
}
