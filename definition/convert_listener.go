package definition

import (
	"fmt"
	"strings"
)

func convertListener(l *Listener) (*listener, error) {
	w := &listener{Kind: "Listener", Name: l.Name, Address: l.Address, Direction: l.Direction, Nodes: nodes(l.Nodes), AccessLog: l.AccessLog, TCP: convertTCP(l.TCP)}
	if t := l.TLS; t != nil {
		w.TLS = &listenerTLS{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA, Secret: objectIn(t.Secret), ClientSecret: objectIn(t.ClientSecret)}
	}
	for i, r := range l.Routes {
		made := convertRoute(r)
		var err error
		if made.Filters, err = convertRouteFilters(r.Filters); err != nil {
			return nil, fmt.Errorf("routes[%d].%w", i, err)
		}
		w.Routes = append(w.Routes, made)
	}
	return w, nil
}

func convertRoute(r Route) route {
	made := route{Name: r.Name, Hosts: r.Hosts, Prefix: r.Prefix, Path: r.Path, Regex: r.Regex, Methods: r.Methods, Timeout: r.Timeout}
	for _, h := range r.Headers {
		made.Headers = append(made.Headers, convertHeader(h))
	}
	if to := r.Redirect; to != nil {
		made.Redirect = &redirect{Scheme: to.Scheme, Host: to.Host, Path: to.Path, Prefix: to.Prefix}
		if to.Port != 0 {
			made.Redirect.Port = &to.Port
		}
		if to.Code != 301 {
			made.Redirect.Code = &to.Code
		}
	}
	if r.Rewrite != "" {
		made.Rewrite = &rewrite{Prefix: r.Rewrite}
	}
	if r.Retries != nil {
		made.Retries = &retries{On: r.Retries.On, PerTry: r.Retries.PerTry}
		if r.Retries.Attempts != 1 {
			made.Retries.Attempts = &r.Retries.Attempts
		}
	}
	made.Upstream, made.TLS, made.Upstreams = convertUpstreams(r.Upstreams)
	return made
}

// convertUpstreams writes a single upstream that has only an address as that
// address, and all others as a list.
func convertUpstreams(list []Upstream) (address string, tls bool, all []upstream) {
	if len(list) == 1 && list[0].Plain() && list[0].Weight == 1 {
		return list[0].Address, list[0].TLS, nil
	}
	for _, u := range list {
		all = append(all, convertUpstream(u))
	}
	return "", false, all
}

func convertHeader(h HeaderMatch) header {
	made := header{Name: h.Name}
	switch h.Is {
	case HeaderExact:
		made.Exact = h.Value
	case HeaderPrefix:
		made.Prefix = h.Value
	case HeaderRegex:
		made.Regex = h.Value
	default:
		present := h.Is == HeaderPresent
		made.Present = &present
	}
	return made
}

func convertUpstream(u Upstream) upstream {
	made := upstream{Address: u.Address, Endpoints: u.Endpoints, Weight: &u.Weight, Protocol: u.Protocol, TLS: u.TLS, ServerName: u.ServerName}
	h := u.HealthCheck
	if h == nil {
		return made
	}
	check := &healthCheck{}
	switch h.By {
	case CheckHTTP:
		check.Path = h.Of
	case CheckGRPC:
		check.GRPC = &h.Of
	}
	if h.Interval != defaultCheck.Interval {
		check.Interval = h.Interval.String()
	}
	if h.Timeout != defaultCheck.Timeout {
		check.Timeout = h.Timeout.String()
	}
	if h.Unhealthy != defaultCheck.Unhealthy {
		check.Unhealthy = &h.Unhealthy
	}
	if h.Healthy != defaultCheck.Healthy {
		check.Healthy = &h.Healthy
	}
	made.HealthCheck = check
	return made
}

// objectIn returns the name of an object without its namespace.
func objectIn(name string) string { return name[strings.LastIndex(name, "/")+1:] }
