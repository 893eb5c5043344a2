package definition

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// routes fills a native listener with the routes of a route configuration.
func (s *staticConversion) routes(made *Listener, config *routev3.RouteConfiguration) error {
	if config == nil || len(config.GetVirtualHosts()) == 0 {
		return errors.New("a Listener has routes of its own")
	}
	if err := only(config, "name", "virtual_hosts", "ignore_port_in_host_matching"); err != nil {
		return err
	}
	var hosts []VirtualHost // their routes are indices into those of the native listener
	for _, h := range narrowFirst(config.GetVirtualHosts()) {
		if err := only(h, "name", "domains", "routes"); err != nil {
			return err
		}
		if len(h.GetRoutes()) == 0 {
			return errors.New("a Listener's hosts have routes")
		}
		domains := lowered(h.GetDomains())
		if !slices.Equal(domains, []string{"*"}) && !config.GetIgnorePortInHostMatching() {
			return errors.New("a Listener's hosts are compared without the port (ignore_port_in_host_matching)")
		}
		host := VirtualHost{Domains: domains}
		for _, r := range h.GetRoutes() {
			route, err := s.route(r)
			if err != nil {
				return err
			}
			if route.Hosts = domains; slices.Equal(domains, []string{"*"}) {
				route.Hosts = nil
			}
			host.Routes = append(host.Routes, len(made.Routes))
			made.Routes = append(made.Routes, route)
		}
		hosts = append(hosts, host)
	}
	return made.sameHosts(hosts)
}

// narrowFirst sorts virtual hosts so that the first route that matches is that
// of the host that Envoy chooses: exact names first, then wildcards, the
// longest first.
func narrowFirst(hosts []*routev3.VirtualHost) []*routev3.VirtualHost {
	width := func(h *routev3.VirtualHost) int {
		widest := 0
		for _, d := range h.GetDomains() {
			if strings.HasPrefix(d, "*") {
				widest = max(widest, 1000-len(d))
			}
		}
		return widest
	}
	return slices.SortedStableFunc(slices.Values(hosts), func(a, b *routev3.VirtualHost) int { return width(a) - width(b) })
}

func lowered(list []string) []string {
	made := make([]string, len(list))
	for i, s := range list {
		made[i] = strings.ToLower(s)
	}
	return made
}

// sameHosts returns an error if a domain of a native listener does not have the
// wanted routes. In a Listener, a request that matches no route of its host
// goes on to wider hosts; Envoy answers it with 404.
func (l *Listener) sameHosts(wanted []VirtualHost) error {
	reached := func(routes []int) []int { // routes behind one that matches everything are never reached
		for i, n := range routes {
			if r := l.Routes[n]; r.Prefix == "/" && len(r.Methods)+len(r.Headers) == 0 {
				return routes[:i+1]
			}
		}
		return routes
	}
	of := func(hosts []VirtualHost) map[string]string {
		routes := map[string]string{}
		for _, h := range hosts {
			for _, d := range h.Domains {
				routes[d] = fmt.Sprint(reached(h.Routes))
			}
		}
		return routes
	}
	is, want := of(VirtualHosts(l.Routes)), of(wanted)
	for domain, routes := range want {
		if is[domain] != routes {
			return fmt.Errorf("a Listener's requests for %s go on to routes of wider hosts, where none of its own matches", domain)
		}
	}
	return nil
}

func (s *staticConversion) route(r *routev3.Route) (Route, error) {
	var made Route
	if err := only(r, "match", "route", "redirect"); err != nil {
		return made, err
	}
	if err := nativeMatch(&made, r.GetMatch()); err != nil {
		return made, err
	}
	switch {
	case r.GetRedirect() != nil:
		to, err := nativeRedirect(r.GetRedirect())
		made.Redirect = to
		return made, err
	case r.GetRoute() != nil:
		return made, s.action(&made, r.GetRoute())
	}
	return made, errors.New("a Listener's routes lead to an upstream, or elsewhere by a redirect")
}

func nativeMatch(made *Route, m *routev3.RouteMatch) error {
	if err := only(m, "prefix", "path", "safe_regex", "headers", "case_sensitive"); err != nil {
		return err
	}
	if m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue() {
		return errors.New("a Listener's paths are compared with case_sensitive")
	}
	if err := only(m.GetSafeRegex(), "regex"); m.GetSafeRegex() != nil && err != nil {
		return err
	}
	made.Prefix, made.Path, made.Regex = m.GetPrefix(), m.GetPath(), m.GetSafeRegex().GetRegex()
	for _, h := range m.GetHeaders() {
		match, err := nativeHeader(h)
		if err != nil {
			return err
		}
		if match.Name != ":method" {
			made.Headers = append(made.Headers, match)
			continue
		}
		if made.Methods != nil {
			return errors.New("a Listener's routes have one list of methods")
		}
		switch match.Is {
		case HeaderExact:
			made.Methods = []string{match.Value}
		case HeaderRegex:
			made.Methods = strings.Split(match.Value, "|")
		default:
			return errors.New("a Listener's methods are exact, or a regex of some with | between")
		}
	}
	return nil
}

func nativeHeader(h *routev3.HeaderMatcher) (HeaderMatch, error) {
	made := HeaderMatch{Name: h.GetName()}
	if err := only(h, "name", "string_match", "present_match", "exact_match", "prefix_match", "safe_regex_match"); err != nil {
		return made, err
	}
	exact := func(regex *matcherv3.RegexMatcher) error {
		made.Is, made.Value = HeaderRegex, regex.GetRegex()
		return only(regex, "regex")
	}
	switch is := h.GetHeaderMatchSpecifier().(type) {
	case nil:
		made.Is = HeaderPresent
	case *routev3.HeaderMatcher_PresentMatch:
		if made.Is = HeaderPresent; !is.PresentMatch {
			made.Is = HeaderAbsent
		}
	case *routev3.HeaderMatcher_ExactMatch:
		//lint:ignore SA1019 as many files still have it
		made.Is, made.Value = HeaderExact, is.ExactMatch
	case *routev3.HeaderMatcher_PrefixMatch:
		//lint:ignore SA1019 as many files still have it
		made.Is, made.Value = HeaderPrefix, is.PrefixMatch
	case *routev3.HeaderMatcher_SafeRegexMatch:
		//lint:ignore SA1019 as many files still have it
		return made, exact(is.SafeRegexMatch)
	case *routev3.HeaderMatcher_StringMatch:
		if err := only(is.StringMatch, "exact", "prefix", "safe_regex"); err != nil {
			return made, err
		}
		switch text := is.StringMatch.GetMatchPattern().(type) {
		case *matcherv3.StringMatcher_Exact:
			made.Is, made.Value = HeaderExact, text.Exact
		case *matcherv3.StringMatcher_Prefix:
			made.Is, made.Value = HeaderPrefix, text.Prefix
		case *matcherv3.StringMatcher_SafeRegex:
			return made, exact(text.SafeRegex)
		}
	}
	return made, nil
}

func nativeRedirect(r *routev3.RedirectAction) (*Redirect, error) {
	if err := only(r, "https_redirect", "scheme_redirect", "host_redirect", "port_redirect", "path_redirect", "prefix_rewrite", "response_code"); err != nil {
		return nil, err
	}
	made := &Redirect{Scheme: r.GetSchemeRedirect(), Host: r.GetHostRedirect(), Port: r.GetPortRedirect(), Path: r.GetPathRedirect(), Prefix: r.GetPrefixRewrite()}
	if r.GetHttpsRedirect() {
		made.Scheme = "https"
	}
	switch r.GetResponseCode() {
	case routev3.RedirectAction_MOVED_PERMANENTLY:
		made.Code = 301
	case routev3.RedirectAction_FOUND:
		made.Code = 302
	case routev3.RedirectAction_SEE_OTHER:
		made.Code = 303
	case routev3.RedirectAction_TEMPORARY_REDIRECT:
		made.Code = 307
	case routev3.RedirectAction_PERMANENT_REDIRECT:
		made.Code = 308
	}
	if made.Host != strings.ToLower(made.Host) || strings.Contains(made.Path, "?") {
		return nil, errors.New("a Listener's redirects have a host in lower case, and a path without a query")
	}
	return made, nil
}

// action fills a route from Envoy's route action.
func (s *staticConversion) action(made *Route, a *routev3.RouteAction) error {
	if err := only(a, "cluster", "weighted_clusters", "timeout", "prefix_rewrite", "retry_policy"); err != nil {
		return err
	}
	made.Rewrite = a.GetPrefixRewrite()
	var err error
	if made.Timeout, err = nativeTime(a.GetTimeout(), "timeouts", 0); err != nil {
		return err
	}
	if p := a.GetRetryPolicy(); p != nil {
		if err := only(p, "retry_on", "num_retries", "per_try_timeout"); err != nil {
			return err
		}
		made.Retries = &Retries{Attempts: 1}
		for on := range strings.SplitSeq(p.GetRetryOn(), ",") {
			made.Retries.On = append(made.Retries.On, strings.TrimSpace(on))
		}
		if p.GetNumRetries() != nil {
			made.Retries.Attempts = p.GetNumRetries().GetValue()
		}
		if made.Retries.PerTry, err = nativeTime(p.GetPerTryTimeout(), "perTry", 1); err != nil {
			return err
		}
	}
	if name := a.GetCluster(); name != "" {
		return s.addUpstream(&made.Upstreams, name, 1)
	}
	weighted := a.GetWeightedClusters()
	if weighted == nil || len(weighted.GetClusters()) == 0 {
		return errors.New("a Listener's routes lead to clusters that they name")
	}
	if err := only(weighted, "clusters"); err != nil {
		return err
	}
	for _, w := range weighted.GetClusters() {
		if err := only(w, "name", "weight"); err != nil {
			return err
		}
		if err := s.addUpstream(&made.Upstreams, w.GetName(), w.GetWeight().GetValue()); err != nil {
			return err
		}
	}
	return nil
}

// nativeTime returns a duration as it is written in a definition.
func nativeTime(d *durationpb.Duration, what string, least time.Duration) (string, error) {
	if d == nil {
		return "", nil
	}
	if d.CheckValid() != nil || d.AsDuration() < least {
		return "", fmt.Errorf("a Listener's %s are from 0s", what)
	}
	return d.AsDuration().String(), nil
}
