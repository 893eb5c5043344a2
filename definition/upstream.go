package definition

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"wasmxds/definition/internal/document"
)

type upstream struct {
	Address     string       `json:"address,omitempty" jsonschema_description:"host:port"`
	Endpoints   []string     `json:"endpoints,omitempty" jsonschema:"minItems=1,maxItems=50" jsonschema_description:"Several host:port that do the same, in place of address."`
	Weight      *uint32      `json:"weight,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"Share of the requests. Default: 1."`
	Protocol    Protocol     `json:"protocol,omitempty" jsonschema:"enum=http1,enum=http2" jsonschema_description:"http1 (default), or http2, which gRPC needs."`
	TLS         bool         `json:"tls,omitempty" jsonschema_description:"Speak TLS with this upstream."`
	ServerName  string       `json:"serverName,omitempty" jsonschema_description:"Host name that is asked for by TLS, and has to be in the certificate. Default: the address's."`
	HealthCheck *healthCheck `json:"healthCheck,omitempty" jsonschema_description:"Endpoints that do not answer well get no requests. Without path and grpc a connection is enough."`
}

type healthCheck struct {
	Path      string  `json:"path,omitempty" jsonschema:"pattern=^/" jsonschema_description:"Asked for by GET; 200 is well."`
	GRPC      *string `json:"grpc,omitempty" jsonschema_description:"Service that grpc.health.v1.Health is asked for; empty: the server as a whole."`
	Interval  string  `json:"interval,omitempty" jsonschema_description:"How often. Default: 5s."`
	Timeout   string  `json:"timeout,omitempty" jsonschema_description:"How long an answer may take. Default: 1s."`
	Unhealthy *uint32 `json:"unhealthy,omitempty" jsonschema:"minimum=1,maximum=100" jsonschema_description:"So many checks in a row without a response take an endpoint out; any response but a good one does so at once. Default: 3."`
	Healthy   *uint32 `json:"healthy,omitempty" jsonschema:"minimum=1,maximum=100" jsonschema_description:"So many good answers bring it back. Default: 2."`
}

// Upstream is one or several endpoints, and their share of a route's requests.
type Upstream struct {
	Address     string   // host:port; a host name is resolved by Envoy
	Endpoints   []string // in place of Address
	Weight      uint32   // 1 for a single upstream
	Protocol    Protocol
	TLS         bool
	ServerName  string       // in place of the host in Address; "": that host
	HealthCheck *HealthCheck // nil: none
}

// Protocol is the protocol of an upstream.
type Protocol string

const (
	HTTP1 Protocol = "" // the default
	HTTP2 Protocol = "http2"
)

// HealthCheck determines how endpoints are checked.
type HealthCheck struct {
	By                 CheckBy
	Of                 string        // path, or gRPC service
	Interval, Timeout  time.Duration // never 0
	Unhealthy, Healthy uint32        // never 0
}

// CheckBy is the protocol of a health check.
type CheckBy string

const (
	CheckTCP  CheckBy = "tcp"
	CheckHTTP CheckBy = "http"
	CheckGRPC CheckBy = "grpc"
)

// defaultCheck has the defaults of a health check.
var defaultCheck = HealthCheck{By: CheckTCP, Interval: 5 * time.Second, Timeout: time.Second, Unhealthy: 3, Healthy: 2}

func (d *Doc) upstreams(path string, r route) []Upstream {
	var made []Upstream
	switch {
	case r.Upstream != "" && r.Upstreams != nil:
		d.Problem(path+".upstreams", "", "can't be combined with upstream")
	case r.Upstream != "":
		d.upstreamAddress(path+".upstream", r.Upstream)
		made = []Upstream{{Address: r.Upstream, Weight: 1, TLS: r.TLS}}
	case len(r.Upstreams) == 0:
		d.Problem(path+".upstream", "upstream: host:port, or upstreams with an address each", "is missing")
	case r.TLS:
		d.Problem(path+".tls", "write tls into each entry of upstreams", "can't be combined with upstreams")
	}
	for i, u := range r.Upstreams {
		made = append(made, d.upstream(document.Index(path+".upstreams", i), u))
	}
	return made
}

// maxWeight keeps the sum of a route's weights within Envoy's 32 bits.
const maxWeight = 1_000_000

func (d *Doc) upstream(at string, u upstream) Upstream {
	made := Upstream{Address: u.Address, Endpoints: u.Endpoints, Weight: 1, Protocol: u.Protocol, TLS: u.TLS, ServerName: strings.ToLower(u.ServerName)}
	d.endpoints(at, u)
	if u.Weight != nil {
		made.Weight = *u.Weight
	}
	if made.Weight < 1 || made.Weight > maxWeight {
		d.Problem(at+".weight", "leave out an upstream that is to get no requests", "%d, needs 1 to %d", made.Weight, maxWeight)
	}
	if made.Protocol == "http1" {
		made.Protocol = HTTP1
	}
	if u.ServerName != "" {
		switch {
		case !u.TLS:
			d.Problem(at+".serverName", "", "needs tls: true")
		case !isHost(made.ServerName) || isIP(made.ServerName):
			d.Problem(at+".serverName", "", "%q is not the name of a host", u.ServerName)
		}
	}
	if u.HealthCheck != nil {
		made.HealthCheck = d.healthCheck(at+".healthCheck", *u.HealthCheck)
	}
	return made
}

// mostEndpoints is the maximum number of endpoints of an upstream.
const mostEndpoints = 50

func (d *Doc) endpoints(at string, u upstream) {
	switch {
	case u.Address != "" && u.Endpoints != nil:
		d.Problem(at+".endpoints", "write all into endpoints", "can't be combined with address")
	case u.Address == "" && len(u.Endpoints) == 0:
		d.needed(at+".address", "")
	case len(u.Endpoints) > mostEndpoints:
		d.Problem(at+".endpoints", "write a cluster with its @type", "%d, %d at most", len(u.Endpoints), mostEndpoints)
	}
	d.upstreamAddress(at+".address", u.Address)
	var hosts []string
	for i, e := range u.Endpoints {
		path := document.Index(at+".endpoints", i)
		if e == "" {
			d.Problem(path, "", "is empty")
		}
		if slices.Contains(u.Endpoints[:i], e) {
			d.Problem(path, "", "%s is listed twice", e)
		}
		d.upstreamAddress(path, e)
		if host, _, err := net.SplitHostPort(e); err == nil && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) > 1 && u.TLS && u.ServerName == "" {
		d.Problem(at+".serverName", "the name in the certificate of all endpoints", "is needed for tls with endpoints of different hosts")
	}
}

func (d *Doc) upstreamAddress(path, address string) {
	if address == "" {
		return // already reported
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(host, ",?") {
		d.Problem(path, "", "%q is not host:port", address)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		d.Problem(path, "", "%q is not a port", port)
	}
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func (d *Doc) healthCheck(at string, h healthCheck) *HealthCheck {
	made := defaultCheck
	if h.Path != "" {
		made.By, made.Of = CheckHTTP, h.Path
		d.urlPath(at+".path", h.Path)
	}
	if h.GRPC != nil {
		if h.Path != "" {
			d.Problem(at+".grpc", "", "can't be combined with path")
		}
		made.By, made.Of = CheckGRPC, *h.GRPC
	}
	made.Interval = d.checkTime(at+".interval", h.Interval, made.Interval, time.Hour)
	made.Timeout = d.checkTime(at+".timeout", h.Timeout, made.Timeout, time.Minute)
	for _, n := range []struct {
		field   string
		written *uint32
		into    *uint32
	}{{"unhealthy", h.Unhealthy, &made.Unhealthy}, {"healthy", h.Healthy, &made.Healthy}} {
		if n.written != nil {
			if *n.into = *n.written; *n.into < 1 || *n.into > 100 {
				d.Problem(at+"."+n.field, "", "%d, needs 1 to 100", *n.into)
			}
		}
	}
	return &made
}

func (d *Doc) checkTime(path, written string, otherwise, most time.Duration) time.Duration {
	if written == "" {
		return otherwise
	}
	t, err := time.ParseDuration(written)
	switch {
	case err != nil:
		d.Problem(path, "", "%q is not a duration like 5s or 500ms", written)
	case t < 10*time.Millisecond || t > most:
		d.Problem(path, "", "%s, needs 10ms to %v", written, most)
	}
	return t
}

// Plain reports whether u has only an address, and possibly TLS.
func (u Upstream) Plain() bool {
	return len(u.Endpoints) == 0 && u.Protocol == HTTP1 && u.ServerName == "" && u.HealthCheck == nil
}

// All returns the endpoints of u.
func (u Upstream) All() []string {
	if len(u.Endpoints) > 0 {
		return u.Endpoints
	}
	return []string{u.Address}
}

// ClusterName returns the name of the cluster that is made for the upstream.
// The name encodes the whole cluster, so that the cluster can be rebuilt from
// its name.
func (u Upstream) ClusterName() string {
	var at []string
	for _, e := range u.All() {
		host, port, err := net.SplitHostPort(e)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil {
			return ""
		}
		at = append(at, ClusterName(host, uint32(n), false))
	}
	query := u.query()
	if len(at) == 1 && u.Protocol == HTTP1 && query == "" {
		if u.TLS {
			return tlsScheme + at[0]
		}
		return at[0]
	}
	scheme := "http1"
	if u.Protocol != HTTP1 {
		scheme = string(u.Protocol)
	}
	if u.TLS {
		scheme += "+tls"
	}
	return scheme + "://" + strings.Join(at, ",") + query
}

// query returns the part of the cluster name after the endpoints.
func (u Upstream) query() string {
	q := url.Values{}
	if u.ServerName != "" {
		q.Set("name", u.ServerName)
	}
	if h := u.HealthCheck; h != nil {
		q.Set("check", string(h.By)+":"+h.Of)
		for _, t := range []struct {
			key            string
			is, unlessItIs time.Duration
		}{{"interval", h.Interval, defaultCheck.Interval}, {"timeout", h.Timeout, defaultCheck.Timeout}} {
			if t.is != t.unlessItIs {
				q.Set(t.key, t.is.String())
			}
		}
		for _, n := range []struct {
			key            string
			is, unlessItIs uint32
		}{{"unhealthy", h.Unhealthy, defaultCheck.Unhealthy}, {"healthy", h.Healthy, defaultCheck.Healthy}} {
			if n.is != n.unlessItIs {
				q.Set(n.key, strconv.FormatUint(uint64(n.is), 10))
			}
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// UpstreamOf returns the upstream that a cluster of this name was made for, or
// false if the cluster was not made for one.
func UpstreamOf(name string) (Upstream, bool) {
	var u Upstream
	rest, query, _ := strings.Cut(name, "?")
	scheme, at, ok := strings.Cut(rest, "://")
	if !ok {
		scheme, at = "", rest
	}
	switch scheme {
	case "", "http1":
	case "tls", "http1+tls":
		u.TLS = true
	case "http2+tls":
		u.Protocol, u.TLS = HTTP2, true
	case "http2":
		u.Protocol = HTTP2
	default:
		return u, false
	}
	if strings.Contains(at, ",") {
		u.Endpoints = strings.Split(at, ",")
	} else {
		u.Address = at
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return u, false
	}
	u.ServerName = q.Get("name")
	if q.Has("check") {
		h := defaultCheck
		by, of, _ := strings.Cut(q.Get("check"), ":")
		h.By, h.Of = CheckBy(by), of
		for key, into := range map[string]*time.Duration{"interval": &h.Interval, "timeout": &h.Timeout} {
			if t, err := time.ParseDuration(q.Get(key)); err == nil {
				*into = t
			}
		}
		for key, into := range map[string]*uint32{"unhealthy": &h.Unhealthy, "healthy": &h.Healthy} {
			if n, err := strconv.ParseUint(q.Get(key), 10, 32); err == nil {
				*into = uint32(n)
			}
		}
		u.HealthCheck = &h
	}
	known := u.HealthCheck == nil || slices.Contains([]CheckBy{CheckTCP, CheckHTTP, CheckGRPC}, u.HealthCheck.By)
	return u, known && name != "" && u.ClusterName() == name
}
