package xds

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// An Envoy runs services from its bootstrap, and lists them in its metadata:
// wasmxds.services, by name, each with its version and the SHA-256 of its module. Nothing
// is sent for them; the status shows whether the Envoy must be restarted.

// maxServices is the most services of an Envoy that are used, and maxServiceText the most
// bytes of each of their texts.
const (
	maxServices    = 32
	maxServiceText = 253
)

// startedWith is a service of an Envoy.
type startedWith struct{ name, version, sha256 string }

// services returns the services that a node lists, by name. It ignores invalid ones.
func services(meta *structpb.Struct) []startedWith {
	var all []startedWith
	for name, value := range meta.GetFields()["wasmxds"].GetStructValue().GetFields()["services"].GetStructValue().GetFields() {
		of := value.GetStructValue().GetFields()
		s := startedWith{name, of["version"].GetStringValue(), of["module"].GetStringValue()}
		if max(len(name), len(s.version), len(s.sha256)) <= maxServiceText && s.version != "" {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b startedWith) int { return cmp.Compare(a.name, b.name) })
	return slices.Clone(all[:min(len(all), maxServices)]) // don't retain the others
}

// services returns the status of each service that c should have, or has. The caller holds
// c.mu.
func (c *client) services() []swap.FilterStatus {
	var all []swap.FilterStatus
	has := map[string]string{}
	for _, s := range c.started {
		has[s.name] = s.version
	}
	var wanted []*resource.Service
	if c.wants.chosen != nil {
		wanted = c.wants.chosen.Services
	}
	for _, s := range wanted {
		f := swap.FilterStatus{Name: s.Name, Wanted: s.Version, Running: has[s.Name], State: swap.Waiting}
		delete(has, s.Name)
		switch {
		case s.Version == "":
			f.Reason = s.Missing
		case f.Running == s.Version:
			f.State = swap.Running
		case f.Running == "":
			f.Reason = "takes a restart: this Envoy's bootstrap lacks the service, and bootstrap --wasm-service " + s.Name + " prints one with it"
		default:
			f.Reason = "takes a restart: this Envoy started with " + f.Running + ", and bootstrap --wasm-service " + s.Name + " prints its bootstrap with what is wanted"
		}
		all = append(all, f)
	}
	for _, s := range c.started {
		if version, left := has[s.name]; left {
			all = append(all, swap.FilterStatus{Name: s.name, Running: version, State: swap.Waiting,
				Reason: "takes a restart: there is no such service for this Envoy any more"})
		}
	}
	return all
}

// ServiceModules returns the SHA-256 of the modules of services that connected Envoys list,
// and fetch again when they restart with the same bootstrap. Envoys may list anything, so
// the modules that most of them list come first, and the first of each before the second
// of any.
func (s *Server) ServiceModules() []string {
	type rank struct{ envoys, turn int }
	ranks := map[string]rank{}
	s.mu.Lock()
	for c := range s.clients {
		var own []string
		for _, started := range c.started {
			if started.sha256 == "" || slices.Contains(own, started.sha256) {
				continue
			}
			r, named := ranks[started.sha256]
			if !named || len(own) < r.turn {
				r.turn = len(own)
			}
			r.envoys++
			ranks[started.sha256] = r
			own = append(own, started.sha256)
		}
	}
	s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(ranks), func(a, b string) int {
		return cmp.Or(cmp.Compare(ranks[b].envoys, ranks[a].envoys), cmp.Compare(ranks[a].turn, ranks[b].turn), cmp.Compare(a, b))
	})
}
