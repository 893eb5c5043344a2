package resource

import (
	"fmt"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition"
)

// raw is an Envoy resource that is sent as it was written.
type raw struct{ *Resource }

func (r *raw) same(p part) bool {
	s, ok := p.(*raw)
	return ok && r.equal(s.Resource)
}

// rawEntry compiles a resource that goes to every node.
func (b *builder) rawEntry(d *definition.Resource) *catalogEntry {
	e := &catalogEntry{key: key{d.TypeURL, d.Name}, nodes: b.sameNodes(definition.Selector{}), pos: d.Pos}
	part, err := b.opts.raw(d)
	if err != nil {
		e.problems = append(e.problems, problem(d.Pos, "", "%v", err))
		return e
	}
	e.part = part
	return e
}

func (o Options) raw(d *definition.Resource) (part, error) {
	switch {
	case d.TypeURL == ListenerType && d.Name == PrimerListener,
		d.TypeURL == RouteType && d.Name == GateRoute:
		return nil, fmt.Errorf("the name %q is taken by what modules are tried in", d.Name)
	case d.TypeURL == RouteType && strings.HasPrefix(d.Name, RoutesPrefix):
		return nil, fmt.Errorf("names that begin with %q are taken by the routes of listeners", RoutesPrefix)
	case d.TypeURL == SecretType && strings.HasPrefix(d.Name, definition.TLSPrefix):
		return nil, fmt.Errorf("names that begin with %q are taken by the secrets of listeners", definition.TLSPrefix)
	case d.TypeURL == ExtensionType && checkName(d.Name) != nil:
		return nil, checkName(d.Name)
	case d.TypeURL == ListenerType:
		m, ok := d.Message.(*listenerv3.Listener)
		if !ok {
			return nil, fmt.Errorf("a %T is not a listener", d.Message)
		}
		target, _ := d.Target()
		means, err := rawListenerMeaning(m)
		if err != nil {
			return nil, err
		}
		return o.newListener(m, target, means)
	}
	m, ok := d.Message.(validatable)
	if !ok {
		return nil, fmt.Errorf("a %T is not a resource of Envoy's", d.Message)
	}
	r, err := check(d.TypeURL, d.Name, m)
	if err != nil {
		return nil, err
	}
	return &raw{r}, nil
}
