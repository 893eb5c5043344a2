package resource

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"wasmxds/definition"
)

// routeMatch returns the conditions of a route, except its hosts.
func routeMatch(r definition.Route) *routev3.RouteMatch {
	m := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: r.Prefix}}
	switch {
	case r.Path != "":
		m.PathSpecifier = &routev3.RouteMatch_Path{Path: r.Path}
	case r.Regex != "":
		m.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: r.Regex}}
	}
	switch len(r.Methods) {
	case 0:
	case 1:
		m.Headers = append(m.Headers, headerMatch(definition.HeaderMatch{Name: ":method", Is: definition.HeaderExact, Value: r.Methods[0]}))
	default: // names have only letters, digits, - and _, which need no escaping
		m.Headers = append(m.Headers, headerMatch(definition.HeaderMatch{Name: ":method", Is: definition.HeaderRegex, Value: strings.Join(r.Methods, "|")}))
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, headerMatch(h))
	}
	return m
}

func headerMatch(h definition.HeaderMatch) *routev3.HeaderMatcher {
	m := &routev3.HeaderMatcher{Name: h.Name}
	text := new(matcherv3.StringMatcher)
	switch h.Is {
	case definition.HeaderExact:
		text.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: h.Value}
	case definition.HeaderPrefix:
		text.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: h.Value}
	case definition.HeaderRegex:
		text.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: h.Value}}
	default:
		m.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: h.Is == definition.HeaderPresent}
		return m
	}
	m.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: text}
	return m
}

func redirect(to *definition.Redirect) *routev3.RedirectAction {
	m := &routev3.RedirectAction{HostRedirect: to.Host, PortRedirect: to.Port, ResponseCode: redirectCode(to.Code)}
	if to.Scheme != "" {
		m.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: to.Scheme}
	}
	switch {
	case to.Path != "":
		m.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: to.Path}
	case to.Prefix != "":
		m.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: to.Prefix}
	}
	return m
}

func redirectCode(code int) routev3.RedirectAction_RedirectResponseCode {
	switch code {
	case 302:
		return routev3.RedirectAction_FOUND
	case 303:
		return routev3.RedirectAction_SEE_OTHER
	case 307:
		return routev3.RedirectAction_TEMPORARY_REDIRECT
	case 308:
		return routev3.RedirectAction_PERMANENT_REDIRECT
	}
	return routev3.RedirectAction_MOVED_PERMANENTLY
}
