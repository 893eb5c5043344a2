package definition

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// dumpKind is the Kind of the hole that a config_dump leaves.
const dumpKind = "ConfigDump"

const dumpPrefix = "envoy.admin.v3."

// isDump reports whether a document is the output of Envoy's admin interface at
// /config_dump.
func isDump(root *document.Node) bool {
	return root.Kind == document.Object && root.Get("configs") != nil && slices.ContainsFunc(root.Get("configs").Items, func(n *document.Node) bool {
		return strings.HasPrefix(typeName(n.Get("@type")), dumpPrefix)
	})
}

// dumped describes where the resources of a config_dump are: for each section,
// its lists, and the path within an item of a list.
var dumped = map[string]struct {
	lists []string
	at    []string // in an item: the first that exists
	what  string
}{
	"ListenersConfigDump": {[]string{"static_listeners", "dynamic_listeners"}, []string{"active_state.listener", "warming_state.listener", "listener"}, "listener"},
	"ClustersConfigDump":  {[]string{"static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"}, []string{"cluster"}, "cluster"},
	"RoutesConfigDump":    {[]string{"dynamic_route_configs"}, []string{"route_config"}, "route configuration"},
	"EndpointsConfigDump": {[]string{"dynamic_endpoint_configs"}, []string{"endpoint_config"}, "endpoints"},
	"EcdsConfigDump":      {[]string{"ecds_filters"}, []string{"ecds_filter"}, "filter"},
	"SecretsConfigDump":   {[]string{"static_secrets", "dynamic_active_secrets"}, []string{"secret"}, "secret"},
}

// readDump rejects a config_dump or, if it is to be converted, reads its
// resources. An error in one resource does not affect the others.
func (d *Doc) readDump() {
	if !d.dumps {
		d.Problem("configs", "make definitions of it: xds-server convert "+d.file.Name, "is what an Envoy runs (its config_dump), not a definition")
		return
	}
	resources := d.ofDump()
	adopt(resources)
	for _, r := range resources {
		r.first, r.item = len(d.problems), true
		if !r.redacted() {
			readRaw(r)
		}
		if i := slices.IndexFunc(d.problems[r.first:], func(p Problem) bool { return !p.Warning }); i >= 0 {
			d.miss(Unread(d.problems[r.first+i]), true)
		}
	}
	d.first = len(d.problems)
	if len(resources) == 0 {
		d.Warn("", "", "nothing in this config_dump can be served")
	}
	d.withoutEndpoints()
}

// withoutEndpoints reports, in one warning, the clusters whose endpoints are
// not in the dump.
func (d *Doc) withoutEndpoints() {
	has := map[string]bool{}
	for _, r := range d.file.Resources {
		if r.TypeURL == endpointsType {
			has[r.Name] = true
		}
	}
	var without []Problem
	for _, r := range d.file.Resources {
		if ref, ok := endpointsOf(r); ok && !has[ref.name] {
			without = append(without, d.file.problem(r, ref.path, fmt.Sprintf("there are no endpoints %q", ref.name), "convert what is at /config_dump?include_eds, which has them"))
		}
	}
	if len(without) == 0 {
		return
	}
	first := without[0]
	first.Warning = true
	if more := len(without) - 1; more > 0 {
		first.Message += fmt.Sprintf(", nor those of %d more clusters", more)
	}
	d.problems = append(d.problems, first)
}

// ofDump returns the resources of a config_dump, except those that are not
// converted.
func (d *Doc) ofDump() []*Doc {
	o := &ofDump{Doc: d, taken: map[[2]string]bool{}, eds: map[string]bool{}, made: map[string]bool{}, server: map[string]bool{}, elsewhere: map[string]bool{}}
	configs := d.root.Get("configs").Items
	for _, config := range configs {
		o.look(config)
	}
	for _, names := range []map[string]bool{o.eds, o.made, o.elsewhere} {
		delete(names, "")
	}
	for i, config := range configs {
		o.part(document.Index("configs", i), config, o.take)
	}
	return o.found
}

// ofDump collects the resources of a config_dump.
type ofDump struct {
	*Doc
	found []*Doc
	taken map[[2]string]bool // the resources in found, by type and name

	eds       map[string]bool // endpoints that clusters discover by EDS
	made      map[string]bool // clusters that are made for definitions
	server    map[string]bool // names in the part of the bootstrap that configures the server
	elsewhere map[string]bool // secrets that their users get from another server
}

// look records which resources others refer to.
func (o *ofDump) look(config *document.Node) {
	config.At("bootstrap.dynamic_resources").Walk(func(n *document.Node) {
		if n.Kind == document.Text {
			o.server[n.Text] = true
		}
	})
	config.Walk(func(n *document.Node) {
		if source := n.Get("sds_config"); source != nil && source.Get("ads") == nil {
			o.elsewhere[document.TextOf(n.Get("name"))] = true
		}
		if eds := n.Get("eds_cluster_config"); eds != nil {
			o.eds[cmp.Or(document.TextOf(eds.Get("service_name")), document.TextOf(n.Get("name")))] = true
		}
	})
	o.part("", config, func(_ string, n *document.Node, what string) {
		if o.not(n, what, nameIn(n)) != ofServer {
			return
		}
		n.Walk(func(n *document.Node) {
			o.made[document.TextOf(n.Get("cluster"))] = true
			if weighted := n.At("weighted_clusters.clusters"); weighted != nil {
				for _, item := range weighted.Items {
					o.made[nameIn(item)] = true
				}
			}
		})
	})
}

// part calls take for each resource of a section.
func (o *ofDump) part(path string, config *document.Node, take func(path string, n *document.Node, what string)) {
	part, list, _ := strings.Cut(strings.TrimPrefix(typeName(config.Get("@type")), dumpPrefix), ".")
	in := dumped[part]
	item := func(path string, item *document.Node) {
		for _, at := range in.at {
			if n := item.At(at); n != nil {
				take(document.Join(path, at), n, in.what)
				return
			}
		}
	}
	switch {
	case path != "" && in.what == "" && len(config.Fields) > 1:
		why := "there is nothing in it that a server gives"
		if part == "BootstrapConfigDump" {
			why = "xds-server bootstrap writes one"
		}
		o.leave(config, part, "", why)
	case list != "": // as /config_dump?resource=… prints them
		item(path, config)
	default:
		for _, list := range in.lists {
			if items := config.Get(list); items != nil {
				for i, n := range items.Items {
					item(document.Index(document.Join(path, list), i), n)
				}
			}
		}
	}
}

// take adds a resource if a person has defined it.
func (o *ofDump) take(path string, n *document.Node, what string) {
	for _, r := range o.ofList(path, n, "") {
		name := nameIn(n)
		key := [2]string{what, name}
		switch why := o.not(n, what, name); {
		case why != "":
			o.leave(n, what, name, why)
		case o.taken[key]: // a warming one is listed twice
		case what == "endpoints" && len(o.eds) > 0 && !o.eds[name]: // they are part of a cluster
		default:
			o.taken[key] = true
			if what == "endpoints" {
				r.root = withoutState(r.root)
			}
			r.root = restored(r.root)
			o.found = append(o.found, r)
		}
	}
}

// nameIn returns the name of a resource in a dump.
func nameIn(n *document.Node) string {
	return cmp.Or(document.TextOf(n.Get("name")), document.TextOf(n.Get("cluster_name")))
}

// leave records a resource that is not converted.
func (o *ofDump) leave(n *document.Node, what, name, why string) {
	o.file.undumped = append(o.file.undumped, Problem{File: o.file.Name, Line: n.Line, Field: what, Message: name, Hint: why})
}

// grouped formats what was left out of a config_dump, with one line for each
// reason.
func grouped(left []Problem) []string {
	type group struct {
		first Problem
		names []string
	}
	var groups []*group
	for _, p := range left {
		i := slices.IndexFunc(groups, func(g *group) bool { return g.first.Field == p.Field && g.first.Hint == p.Hint })
		if i < 0 {
			i, groups = len(groups), append(groups, &group{first: p})
		}
		groups[i].names = append(groups[i].names, p.Message)
	}
	var lines []string
	for _, g := range groups {
		what := strings.TrimSpace(g.first.Field + " " + g.first.Message)
		if more := len(g.names) - 1; more > 0 {
			what += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, fmt.Sprintf("- %s, line %d: %s.", what, g.first.Line, g.first.Hint))
	}
	return lines
}
