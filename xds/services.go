package xds

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// An Envoy has services of its own from its bootstrap, and says in its metadata which
// ones: wasmxds.services, by name, each with its version and the SHA-256 of its module.
// Nothing is sent of them; what is told is whether the Envoy has to be started again.

// maxServices is how many services of an Envoy are looked at, and maxServiceText how
// many bytes each text that it tells of one may have.
const (
	maxServices    = 32
	maxServiceText = 253
)

// startedWith is a service that an Envoy has.
type startedWith struct{ name, version, sha256 string }

// services are those that a node says that it has started with, by name. What is not
// understood is passed over: it is as if the Envoy did not have it.
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
	return slices.Clone(all[:min(len(all), maxServices)]) // the others are not held
}

// services tells how each service fares that c is to have, or has. The caller holds
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

// maxServiceModules is how many modules are kept for services. What Envoys say is their
// word.
const maxServiceModules = 256

// ServiceModules are the SHA-256 of modules, as connected Envoys say, that they have
// services of, and fetch again when they start again by the same bootstrap.
func (s *Server) ServiceModules() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := map[string]bool{}
	for c := range s.clients {
		for _, started := range c.started {
			if len(named) < maxServiceModules {
				named[started.sha256] = true
			}
		}
	}
	return slices.Collect(maps.Keys(named))
}
