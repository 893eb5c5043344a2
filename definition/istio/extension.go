package istio

import (
	"slices"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// extension has the fields that WasmPlugin and TrafficExtension share: the
// Envoys and listeners of the filter, and its order.
type extension struct {
	Selector   labelSelector     `json:"selector"`
	TargetRefs []targetReference `json:"targetRefs"`
	Priority   int32             `json:"priority"`
	Match      []trafficSelector `json:"match"`
}

type labelSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

type targetReference struct {
	Group     string `json:"group"`
	Kind      string `json:"kind" jsonschema:"required"`
	Name      string `json:"name" jsonschema:"required"`
	Namespace string `json:"namespace"`
}

// target is a reference with its path.
type target struct {
	at string
	to targetReference
}

type trafficSelector struct {
	Mode  string `json:"mode" jsonschema:"enum=UNDEFINED,enum=CLIENT,enum=SERVER,enum=CLIENT_AND_SERVER"`
	Ports []struct {
		Number uint32 `json:"number" jsonschema:"required"`
	} `json:"ports"`
}

// Positions in the order of filters, nearest the client first. Istio's phases
// precede filters without a phase. Within a phase, the higher priority is
// nearer the client. Any int32 fits between two phases.
const (
	phaseStep   = 10_000_000_000
	orderAuthN  = -3 * phaseStep
	orderAuthZ  = -2 * phaseStep
	orderStats  = -1 * phaseStep
	orderNormal = 0
)

// phaseOrder returns the start of a phase's range of the order.
func phaseOrder(phase string) int {
	switch phase {
	case "AUTHN":
		return orderAuthN
	case "AUTHZ":
		return orderAuthZ
	case "STATS":
		return orderStats
	}
	return orderNormal
}

// phasePlace returns Istio's place of a phase: before its own filters of that
// kind.
func phasePlace(phase string) definition.At {
	switch phase {
	case "AUTHN":
		return definition.First
	case "AUTHZ":
		return definition.AuthZ
	case "STATS":
		return definition.Stats
	}
	return definition.Last
}

// add adds the filter of an object in a phase: once, or once for each of
// several Gateways. The parameter at has the paths of what only one kind has.
func (e extension) add(d *definition.Doc, f *definition.Filter, of definition.Metadata, phase string, targets []target, at map[string]string) {
	f.Name = of.Qualified()
	f.Attach = definition.Attach{Nodes: definition.Selector{Labels: e.Selector.MatchLabels}, Listeners: listeners(d, e.Match)}
	f.Order = phaseOrder(phase) - int(e.Priority)
	f.Place.At = phasePlace(phase)
	d.Labels("spec.selector.matchLabels", e.Selector.MatchLabels)
	d.FilterName("metadata.name", f.Name)
	gateways := e.gateways(d, f.Kind, of.Namespace, targets)
	if d.Failed() {
		return
	}
	at["name"], at["attach"] = "metadata.name", "spec.match"
	if len(gateways) == 0 {
		d.AddFilter(f, at)
	}
	for _, name := range gateways {
		one := *f
		one.Attach.Nodes.Labels = map[string]string{definition.GatewayLabel: name}
		if len(gateways) > 1 {
			one.Name += "." + name
		}
		d.AddFilter(&one, at)
	}
}

func (e extension) targets() []target {
	var all []target
	for i, t := range e.TargetRefs {
		all = append(all, target{document.Index("spec.targetRefs", i), t})
	}
	return all
}

const gatewayGroup = "gateway.networking.k8s.io"

// gateways returns the names of the Gateways that an object applies to. If
// there are none, the object selects Envoys by their labels.
func (e extension) gateways(d *definition.Doc, kind, namespace string, targets []target) []string {
	var names []string
	for _, t := range targets {
		switch {
		case t.to.Kind != "Gateway" && t.to.Kind != "":
			d.Problem(t.at+".kind", "select Envoys by selector.matchLabels, or name a Gateway", "%q is not known here, only Gateway", t.to.Kind)
		case t.to.Group == "":
			d.Problem(t.at+".group", gatewayGroup, "is missing")
		case t.to.Group != gatewayGroup:
			d.Problem(t.at+".group", "", "%q is not %s", t.to.Group, gatewayGroup)
		}
		if t.to.Namespace != "" && t.to.Namespace != namespace {
			d.Problem(t.at+".namespace", "write the "+kind+" in the Gateway's namespace", "is not the %s's own", kind)
		}
		if t.to.Name != "" && !slices.Contains(names, t.to.Name) {
			names = append(names, t.to.Name)
		}
	}
	if len(names) > 0 && len(e.Selector.MatchLabels) > 0 {
		d.Problem("spec.selector", "select by one of them", "can't be combined with targetRefs")
	}
	return names
}

// listeners converts traffic selectors to listeners. As in Istio, traffic that
// a gateway forwards is CLIENT traffic.
func listeners(d *definition.Doc, match []trafficSelector) []definition.ListenerMatch {
	if len(match) == 0 {
		return []definition.ListenerMatch{{Direction: definition.Any}}
	}
	var made []definition.ListenerMatch
	for i, m := range match {
		var ports []uint32
		for _, p := range m.Ports {
			ports = append(ports, p.Number)
		}
		at := document.Index("spec.match", i) + ".ports"
		d.Ports(at, ports)
		switch m.Mode {
		case "CLIENT":
			made = append(made, definition.ListenerMatch{Direction: definition.Outbound, Ports: ports}, definition.ListenerMatch{Direction: definition.Gateway, Ports: ports})
		case "SERVER":
			made = append(made, definition.ListenerMatch{Direction: definition.Inbound, Ports: ports})
		default:
			made = append(made, definition.ListenerMatch{Direction: definition.Any, Ports: ports})
		}
	}
	return made
}
