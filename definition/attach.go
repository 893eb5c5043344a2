package definition

import (
	"net"
	"path"
	"slices"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition/internal/document"
)

// Matches reports whether s selects the node.
func (s Selector) Matches(n Node) bool {
	return matchesAny(s.IDs, n.ID) && matchesAny(s.Clusters, n.Cluster) && within(s.Labels, n.Labels)
}

// within reports whether all has every label in some.
func within(some, all map[string]string) bool {
	for key, value := range some {
		if other, ok := all[key]; !ok || other != value {
			return false
		}
	}
	return true
}

func matchesAny(globs []string, s string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(glob, s)
		return ok && err == nil
	})
}

func (d *Doc) globs(at string, globs []string) {
	for i, glob := range globs {
		if _, err := path.Match(glob, ""); err != nil {
			d.Problem(document.Index(at, i), "* ? and [a-z] are wildcards; write \\[ for a bare bracket", "%q is not a pattern", glob)
		}
	}
}

// Target has the properties of a listener that an Attach selects by.
type Target struct {
	Name      string
	Direction Direction // Inbound, Outbound, or Gateway if the listener has none
	Port      uint32    // 0: none
}

// Matches reports whether a filter with this Attach belongs in the listener t.
func (a Attach) Matches(t Target) bool {
	return slices.ContainsFunc(a.Listeners, func(m ListenerMatch) bool { return m.Matches(t) })
}

// Matches reports whether t matches all criteria that are set.
func (m ListenerMatch) Matches(t Target) bool {
	return (m.Direction == "" || m.Direction == Any || m.Direction == t.Direction) &&
		(len(m.Names) == 0 || slices.Contains(m.Names, t.Name)) &&
		(len(m.Ports) == 0 || slices.Contains(m.Ports, t.Port))
}

// Target returns the properties of l that an Attach selects by.
func (l *Listener) Target() Target {
	t := Target{Name: l.Name, Direction: l.Direction}
	if _, port, err := net.SplitHostPort(l.Address); err == nil {
		n, _ := strconv.ParseUint(port, 10, 16)
		t.Port = uint32(n)
	}
	return t
}

// Target returns the properties of a raw listener that an Attach selects by.
// Its direction is its traffic_direction. It returns false for any other
// resource.
func (r *Resource) Target() (Target, bool) {
	l, ok := r.Message.(*listenerv3.Listener)
	if !ok {
		return Target{}, false
	}
	t := Target{Name: r.Name, Direction: Gateway, Port: l.GetAddress().GetSocketAddress().GetPortValue()}
	switch l.GetTrafficDirection() {
	case corev3.TrafficDirection_INBOUND:
		t.Direction = Inbound
	case corev3.TrafficDirection_OUTBOUND:
		t.Direction = Outbound
	}
	return t, true
}
