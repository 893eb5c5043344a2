package definition

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"wasmxds/definition/internal/document"
)

// Names that xds-server uses itself.
const (
	PrimerListener   = "primer"
	TwinPrefix       = PrimerListener + "/" // of filters and route configurations
	LuaMark          = TwinPrefix + "lua/"  // before a Lua filter's name in that of its twin
	StandbyPrefix    = "standby:"           // of filters in versions that stand by
	SlotPrefix       = "slot/"              // of filters, whose names slots may have
	RoutesPrefix     = "routes/"            // of route configurations
	TLSPrefix        = "wasmxds-tls/"       // of secrets, which are those of listeners
	RuntimeLayer     = "wasmxds"            // of runtime, that xds-server says the content of
	reservedClusters = "wasmxds"            // what the names of clusters begin with that lead to it
)

const renameIt = "give it another name"

func (d *Doc) clusterName(path, name string) {
	if strings.HasPrefix(name, reservedClusters) {
		d.Problem(path, renameIt, "names of clusters that begin with %s are xds-server's own", reservedClusters)
	}
}

// ClusterName is the name of the cluster that is made for an upstream, or for
// the origin of modules that Envoys fetch themselves.
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
	path       string // of what it is made for
	what       string // for people
	pos        Position
}

// makes are the clusters that are made for a file's definitions.
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

// twoClusters finds clusters that are written under the name of one that is
// made: an Envoy can have but one of them, and traffic would go elsewhere than
// one of the two says.
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
			continue // what is left out takes no names
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
