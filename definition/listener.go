package definition

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"wasmxds/definition/internal/document"
)

// listener is a document of kind Listener.
type listener struct {
	Kind      string    `json:"kind" jsonschema:"required,enum=Listener"`
	Name      string    `json:"name" jsonschema:"required,maxLength=253" jsonschema_description:"Name of the listener; unique."`
	Address   string    `json:"address" jsonschema:"required" jsonschema_description:"IP address and port to listen at."`
	Direction Direction `json:"direction,omitempty" jsonschema:"enum=inbound,enum=outbound,enum=gateway" jsonschema_description:"Side of the listener. Default: gateway."`
	Nodes     nodes     `json:"nodes,omitempty" jsonschema_description:"Nodes that get the listener. Default: every node."`
	Routes    []route   `json:"routes" jsonschema:"required,minItems=1" jsonschema_description:"Where requests go; the first that matches counts."`
}

type route struct {
	Prefix    string     `json:"prefix" jsonschema:"required,pattern=^/" jsonschema_description:"Path prefix; / matches all."`
	Upstream  string     `json:"upstream,omitempty" jsonschema_description:"host:port of the only upstream."`
	TLS       bool       `json:"tls,omitempty" jsonschema_description:"Speak TLS with the upstream."`
	Upstreams []upstream `json:"upstreams,omitempty" jsonschema_description:"Several upstreams, in place of upstream and tls."`
	Timeout   string     `json:"timeout,omitempty" jsonschema_description:"Like 15s or 500ms; 0s: no limit. Default: Envoy's, 15s."`
}

type upstream struct {
	Address string  `json:"address" jsonschema:"required" jsonschema_description:"host:port"`
	Weight  *uint32 `json:"weight,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"Share of the requests. Default: 1."`
	TLS     bool    `json:"tls,omitempty" jsonschema_description:"Speak TLS with this upstream."`
}

func readListener(d *Doc) {
	var w listener
	ok := d.Decode(&w)
	before := len(d.problems)
	l := &Listener{Name: w.Name, Pos: d.Pos(), Address: w.Address, Direction: w.Direction, Nodes: d.nodes("nodes", w.Nodes)}
	if l.Direction == "" {
		l.Direction = Gateway
	}
	d.listenerName("name", l.Name)
	d.address(w.Address)
	for i, r := range w.Routes {
		l.Routes = append(l.Routes, d.route(document.Index("routes", i), r))
	}
	if w.Routes != nil && len(w.Routes) == 0 {
		d.Problem("routes", "", "needs a route at least")
	}
	if ok && len(d.problems) == before {
		d.addListener(l)
	}
}

func (d *Doc) listenerName(path, name string) {
	d.name(path, name)
	d.notReserved(path, name+"/", SlotPrefix) // which begins the names of slots of its own
	if name == PrimerListener {
		d.Problem(path, renameIt, "%s is the name of xds-server's own listener", PrimerListener)
	}
}

// address checks where a listener listens: Envoy takes an IP address here.
func (d *Doc) address(address string) {
	if address == "" {
		return
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		d.Problem("address", "", "%q is not host:port", address)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil {
		hint := ""
		switch host {
		case "":
			hint = "every address: 0.0.0.0:" + port
		case "localhost":
			hint = "127.0.0.1:" + port
		}
		d.Problem("address", hint, "%q is not an IP address", host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		d.Problem("address", "", "%q is not a port", port)
	}
}

func (d *Doc) route(path string, r route) Route {
	made := Route{Prefix: r.Prefix, Timeout: r.Timeout}
	if r.Prefix != "" && !strings.HasPrefix(r.Prefix, "/") {
		d.Problem(path+".prefix", "", "%q does not begin with /", r.Prefix)
	}
	if r.Timeout != "" {
		if t, err := time.ParseDuration(r.Timeout); err != nil || t < 0 {
			d.Problem(path+".timeout", "0s: no limit", "%q is not a duration like 15s or 500ms", r.Timeout)
		}
	}
	switch {
	case r.Upstream != "" && r.Upstreams != nil:
		d.Problem(path+".upstreams", "", "can't be together with upstream")
	case r.Upstream != "":
		d.upstream(path+".upstream", r.Upstream)
		made.Upstreams = []Upstream{{Address: r.Upstream, Weight: 1, TLS: r.TLS}}
	case len(r.Upstreams) == 0:
		d.Problem(path+".upstream", "upstream: host:port, or upstreams with an address each", "is missing")
	case r.TLS:
		d.Problem(path+".tls", "write tls into each entry of upstreams", "can't be together with upstreams")
	}
	for i, u := range r.Upstreams {
		at := document.Index(path+".upstreams", i)
		d.upstream(at+".address", u.Address)
		weight := uint32(1)
		if u.Weight != nil {
			weight = *u.Weight
		}
		if weight < 1 || weight > maxWeight {
			d.Problem(at+".weight", "leave out an upstream that is to get no requests", "%d, needs 1 to %d", weight, maxWeight)
		}
		made.Upstreams = append(made.Upstreams, Upstream{Address: u.Address, Weight: weight, TLS: u.TLS})
	}
	return made
}

// maxWeight keeps the sum of a route's weights within Envoy's 32 bits.
const maxWeight = 1_000_000

func (d *Doc) upstream(path, address string) {
	if address == "" {
		return // Decode has said that it is missing
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		d.Problem(path, "", "%q is not host:port", address)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		d.Problem(path, "", "%q is not a port", port)
	}
}
