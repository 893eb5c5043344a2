package definition

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"wasmxds/definition/internal/document"
)

// Names that are reserved for xds-server.
const (
	PrimerListener   = "primer"
	TwinPrefix       = PrimerListener + "/" // for filters and route configurations
	LuaMark          = TwinPrefix + "lua/"  // precedes the name of a Lua filter in that of its twin
	StandbyPrefix    = "standby:"           // for standbys of filters
	SlotPrefix       = "slot/"              // for filters whose names slots may have
	RoutesPrefix     = "routes/"            // for route configurations
	TLSPrefix        = "wasmxds-tls/"       // for secrets of listeners
	RuntimeLayer     = "wasmxds"            // runtime layer that xds-server serves
	reservedClusters = "wasmxds"            // prefix of the names of clusters that lead to xds-server
)

const renameIt = "give it another name"

func (d *Doc) clusterName(path, name string) {
	if strings.HasPrefix(name, reservedClusters) {
		d.Problem(path, renameIt, "names of clusters that begin with %s are reserved for xds-server", reservedClusters)
	}
}

// ClusterName returns the name of the cluster that is made for an upstream, or
// for the origin of modules that Envoys fetch directly.
func ClusterName(host string, port uint32, tls bool) string {
	at := net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
	if tls {
		return tlsScheme + at
	}
	return at
}

const tlsScheme = "tls://"

// made is a cluster that is made for a definition.
type made struct {
	name       string
	definition any
	path       string // of the field that it is made for
	what       string // for people
	pos        Position
}

// makes returns the clusters that are made for a file's definitions.
func (f *File) makes() []made {
	var all []made
	for _, l := range f.Listeners {
		upstreams := func(of []Upstream, at string, written func(*document.Node) *document.Node) {
			for j, u := range of {
				name := u.ClusterName()
				if name == "" {
					continue
				}
				path := document.Index(at+".upstreams", j) + ".address"
				if len(u.Endpoints) > 0 {
					path = document.Index(at+".upstreams", j) + ".endpoints"
				}
				if root := f.origins[l].root; root != nil && written(root).Get("upstreams") == nil {
					path = at + ".upstream"
				}
				all = append(all, made{name, l, path, fmt.Sprintf("listener %q", l.Name), l.Pos})
			}
		}
		for i, r := range l.Routes {
			upstreams(r.Upstreams, document.Index("routes", i), func(root *document.Node) *document.Node { return root.Get("routes").Items[i] })
		}
		if l.TCP != nil {
			upstreams(l.TCP.Upstreams, "tcp", func(root *document.Node) *document.Node { return root.Get("tcp") })
		}
	}
	for _, filter := range f.Filters {
		u, err := url.Parse(filter.Module.URL)
		if filter.Module.Fetch != Direct || err != nil {
			continue
		}
		tls := u.Scheme == "https"
		port := uint64(80)
		if tls {
			port = 443
		}
		if u.Port() != "" {
			if port, err = strconv.ParseUint(u.Port(), 10, 16); err != nil {
				continue
			}
		}
		all = append(all, made{ClusterName(u.Hostname(), uint32(port), tls), filter, "module.url", fmt.Sprintf("filter %q", filter.Name), filter.Pos})
	}
	return all
}

// twoClusters reports clusters that are written under the name of one that is
// made: an Envoy can have only one of them, so traffic would not go where one
// of the two definitions sends it.
func twoClusters(files []*File) []Problem {
	var problems []Problem
	makes, writes := map[string]made{}, map[string]Position{}
	for _, f := range files {
		var found []Problem
		mine := f.makes()
		for _, m := range mine {
			if at, ok := writes[m.name]; ok {
				found = append(found, f.problem(m.definition, m.path,
					fmt.Sprintf("needs a cluster of the name %q, which another has, in %v", m.name, at), "give that cluster another name"))
			}
		}
		own := map[string]made{}
		for _, m := range mine {
			own[m.name] = m
		}
		for _, r := range f.Resources {
			if r.TypeURL != clusterType {
				continue
			}
			m, ok := makes[r.Name]
			if !ok {
				m, ok = own[r.Name]
			}
			if ok {
				found = append(found, f.problem(r, "name", fmt.Sprintf("a cluster %q is made for %s, in %v", r.Name, m.what, m.pos), renameIt))
			}
		}
		problems = append(problems, found...)
		if len(found) > 0 {
			continue // a file that is left out reserves no names
		}
		for _, m := range mine {
			makes[m.name] = m
		}
		for _, r := range f.Resources {
			if r.TypeURL == clusterType {
				writes[r.Name] = r.Pos
			}
		}
	}
	return problems
}
