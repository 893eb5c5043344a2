package definition

import (
	"net"
	"net/netip"
	"strconv"

	"wasmxds/definition/internal/document"
)

// listener is a document of kind Listener.
type listener struct {
	Kind      string       `json:"kind" jsonschema:"required,enum=Listener"`
	Name      string       `json:"name" jsonschema:"required,maxLength=253" jsonschema_description:"Name of the listener; unique."`
	Address   string       `json:"address" jsonschema:"required" jsonschema_description:"IP address and port to listen at."`
	Direction Direction    `json:"direction,omitempty" jsonschema:"enum=inbound,enum=outbound,enum=gateway" jsonschema_description:"Side of the listener. Default: gateway."`
	Nodes     nodes        `json:"nodes,omitempty" jsonschema_description:"Nodes that get the listener. Default: every node."`
	TLS       *listenerTLS `json:"tls,omitempty" jsonschema_description:"Certificate that clients are shown; those of HTTP choose HTTP/2 or HTTP/1.1. Default: no TLS."`
	AccessLog AccessLog    `json:"accessLog,omitempty" jsonschema:"enum=off,enum=text,enum=json" jsonschema_description:"What Envoy writes of each request to its standard output. Default: off."`
	Routes    []route      `json:"routes,omitempty" jsonschema:"minItems=1" jsonschema_description:"Where requests go; the first that matches counts."`
	TCP       *tcp         `json:"tcp,omitempty" jsonschema_description:"Where connections go, in place of routes: their bytes are passed on as they are, and no HTTP filter sees them."`
}

func readListener(d *Doc) {
	var w listener
	ok := d.Decode(&w)
	l := &Listener{Name: w.Name, Pos: d.Pos(), Address: w.Address, Direction: w.Direction, Nodes: d.nodes("nodes", w.Nodes)}
	if l.Direction == "" {
		l.Direction = Gateway
	}
	d.listenerName("name", l.Name)
	d.address(w.Address)
	l.TLS, l.AccessLog = d.tls(w.TLS), d.accessLog(w.AccessLog)
	for i, r := range w.Routes {
		d.routeName(document.Index("routes", i), r, l.Routes)
		l.Routes = append(l.Routes, d.route(document.Index("routes", i), r))
	}
	d.countVariants(l.Routes)
	switch {
	case w.TCP != nil && w.Routes != nil:
		d.Problem("tcp", "connections have no routes", "can't be combined with routes")
	case w.TCP != nil:
		l.TCP = d.tcp(w.TCP)
		if w.AccessLog != "" && w.AccessLog != "off" {
			d.Problem("accessLog", "", "is for routes: there are no requests")
		}
	case w.Routes == nil:
		d.Problem("routes", "of connections that are not HTTP, it is tcp: {upstream: host:port}", "is missing")
	case len(w.Routes) == 0:
		d.Problem("routes", "", "must have at least one route")
	}
	if ok && !d.Failed() {
		d.reachable(l.Routes)
	}
	if ok && !d.Failed() {
		d.addListener(l)
	}
}

func (d *Doc) listenerName(path, name string) {
	d.name(path, name)
	d.notReserved(path, name+"/", SlotPrefix) // a prefix of the names of its slots
	if name == PrimerListener {
		d.Problem(path, renameIt, "%s is reserved for a listener of xds-server", PrimerListener)
	}
}

// address checks the address of a listener. Envoy requires an IP address.
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

// AccessLog determines what Envoy logs for each request to its standard output.
type AccessLog string

const (
	LogOff  AccessLog = "" // nothing
	LogText AccessLog = "text"
	LogJSON AccessLog = "json"
)

func (d *Doc) accessLog(as AccessLog) AccessLog {
	if as == "off" {
		return LogOff
	}
	return as
}
