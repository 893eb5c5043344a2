package definition

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"wasmxds/definition/internal/document"
	"wasmxds/printable"
)

type route struct {
	Name      string     `json:"name,omitempty" jsonschema:"maxLength=253" jsonschema_description:"Name of the route, by which filters are attached to it; unique in the listener."`
	Hosts     []string   `json:"hosts,omitempty" jsonschema:"minItems=1" jsonschema_description:"Host names that the route is for, like a.example or *.b.example. Default: every host."`
	Prefix    string     `json:"prefix,omitempty" jsonschema:"pattern=^/" jsonschema_description:"Path prefix; / matches all. Needed where there is no path or regex."`
	Path      string     `json:"path,omitempty" jsonschema:"pattern=^/" jsonschema_description:"The whole path, in place of prefix."`
	Regex     string     `json:"regex,omitempty" jsonschema_description:"RE2 expression for the whole path, in place of prefix."`
	Methods   []string   `json:"methods,omitempty" jsonschema:"minItems=1" jsonschema_description:"Methods that the route is for, like GET. Default: all."`
	Headers   []header   `json:"headers,omitempty" jsonschema_description:"Headers that a request must have, all of them."`
	Upstream  string     `json:"upstream,omitempty" jsonschema_description:"host:port of the only upstream."`
	TLS       bool       `json:"tls,omitempty" jsonschema_description:"Speak TLS with the upstream."`
	Upstreams []upstream `json:"upstreams,omitempty" jsonschema_description:"Upstreams with more than an address, or several, in place of upstream and tls."`
	Redirect  *redirect  `json:"redirect,omitempty" jsonschema_description:"Where the client is sent, in place of an upstream."`
	Rewrite   *rewrite   `json:"rewrite,omitempty" jsonschema_description:"What the upstream sees instead."`
	Timeout   string     `json:"timeout,omitempty" jsonschema_description:"Like 15s or 500ms; 0s: no limit. Default: Envoy's, 15s."`
	Retries   *retries   `json:"retries,omitempty" jsonschema_description:"Whether requests that fail are sent again. Default: no."`

	Filters map[string]*document.Node `json:"filters,omitempty" jsonschema_description:"Filters that are not as in the rest of the listener, by name: off, or config: with another configuration."`
}

type header struct {
	Name    string `json:"name" jsonschema:"required" jsonschema_description:"Name of the header."`
	Exact   string `json:"exact,omitempty" jsonschema_description:"Its value."`
	Prefix  string `json:"prefix,omitempty" jsonschema_description:"What its value begins with."`
	Regex   string `json:"regex,omitempty" jsonschema_description:"RE2 expression for the whole value."`
	Present *bool  `json:"present,omitempty" jsonschema_description:"Whether it is there, whatever its value."`
}

type rewrite struct {
	Prefix string `json:"prefix" jsonschema:"required,pattern=^/" jsonschema_description:"What takes the place of the prefix, or path, that matched."`
}

type redirect struct {
	Scheme string  `json:"scheme,omitempty" jsonschema:"enum=http,enum=https" jsonschema_description:"http or https. Default: the request's."`
	Host   string  `json:"host,omitempty" jsonschema_description:"Host name. Default: the request's."`
	Port   *uint32 `json:"port,omitempty" jsonschema:"minimum=1,maximum=65535" jsonschema_description:"Port. Default: the request's, or none where scheme changes one that is usual."`
	Path   string  `json:"path,omitempty" jsonschema:"pattern=^/" jsonschema_description:"The whole path."`
	Prefix string  `json:"prefix,omitempty" jsonschema:"pattern=^/" jsonschema_description:"What takes the place of the prefix, or path, that matched."`
	Code   *int    `json:"code,omitempty" jsonschema:"minimum=301,maximum=308" jsonschema_description:"Status: 301 (default), 302, 303, 307 or 308."`
}

type retries struct {
	On       []string `json:"on" jsonschema:"required,minItems=1" jsonschema_description:"What is tried again, as Envoy's retry_on has it: connect-failure, reset, 5xx and so on."`
	Attempts *uint32  `json:"attempts,omitempty" jsonschema:"minimum=1,maximum=100" jsonschema_description:"How often a request is sent again. Default: 1."`
	PerTry   string   `json:"perTry,omitempty" jsonschema_description:"How long each try may take, like 2s. Default: the route's timeout."`
}

// Route sends requests that match to one or several upstreams, or redirects
// them.
type Route struct {
	Name    string   // unique in the listener; "": none
	Hosts   []string // in lower case; empty: every host
	Prefix  string   // path prefix; "/" matches all
	Path    string   // the whole path, in place of Prefix
	Regex   string   // for the whole path, in place of Prefix
	Methods []string // empty: all
	Headers []HeaderMatch

	Upstreams []Upstream
	Redirect  *Redirect // in place of Upstreams
	Rewrite   string    // replaces Prefix or Path in requests to the upstream; "": no rewrite
	Timeout   string    // Go duration; "": Envoy's default
	Retries   *Retries  // nil: none

	// Filters are the filters that differ from the rest of the listener.
	Filters []RouteFilter
}

// HeaderMatch is a condition on a header.
type HeaderMatch struct {
	Name  string
	Is    HeaderTest
	Value string
}

// HeaderTest determines how the value of a header is compared.
type HeaderTest string

const (
	HeaderExact   HeaderTest = "exact"
	HeaderPrefix  HeaderTest = "prefix"
	HeaderRegex   HeaderTest = "regex"
	HeaderPresent HeaderTest = "present"
	HeaderAbsent  HeaderTest = "absent"
)

// Redirect is a redirect of the client. Fields with their zero value keep the
// request's own value.
type Redirect struct {
	Scheme, Host string
	Port         uint32
	Path         string
	Prefix       string // replaces the matched part
	Code         int    // 301, 302, ...
}

// Retries determines which requests are retried.
type Retries struct {
	On       []string // Envoy's retry conditions
	Attempts uint32
	PerTry   string // Go duration; "": none
}

func (d *Doc) route(path string, r route) Route {
	made := Route{
		Name: r.Name, Filters: d.routeFilters(path+".filters", r.Filters),
		Hosts: d.hosts(path+".hosts", r.Hosts), Prefix: r.Prefix, Path: r.Path, Regex: r.Regex,
		Methods: d.methods(path+".methods", r.Methods), Timeout: r.Timeout,
	}
	d.routePath(path, r)
	for i, h := range r.Headers {
		made.Headers = append(made.Headers, d.headerMatch(document.Index(path+".headers", i), h))
	}
	d.duration(path+".timeout", "0s: no limit", r.Timeout)
	if r.Redirect != nil {
		made.Redirect = d.redirect(path, r)
		return made
	}
	made.Upstreams = d.upstreams(path, r)
	if r.Rewrite != nil {
		made.Rewrite = r.Rewrite.Prefix
		d.pathPrefix(path+".rewrite.prefix", r, r.Rewrite.Prefix)
	}
	if r.Retries != nil {
		made.Retries = d.retries(path+".retries", r.Retries)
	}
	return made
}

// routePath checks the path that a route matches.
func (d *Doc) routePath(path string, r route) {
	given := 0
	for _, p := range []struct{ field, value string }{{"prefix", r.Prefix}, {"path", r.Path}, {"regex", r.Regex}} {
		if p.value == "" {
			continue
		}
		if given++; given > 1 {
			d.Problem(path+"."+p.field, "", "can't be combined with another of prefix, path and regex")
		}
		if p.field == "regex" {
			d.regex(path+".regex", p.value)
			continue
		}
		d.urlPath(path+"."+p.field, p.value)
	}
	if given == 0 {
		d.needed(path+".prefix", "prefix, path or regex; / is the prefix of all")
	}
}

// needed reports a required field that is missing or empty.
func (d *Doc) needed(path, hint string) {
	if n := d.at(path); n != nil && n.Kind == document.Text {
		d.Problem(path, hint, "is empty")
		return
	}
	d.Problem(path, hint, "is missing")
}

// urlPath checks a path, or a path prefix.
func (d *Doc) urlPath(path, value string) {
	switch {
	case value == "":
	case !strings.HasPrefix(value, "/"):
		d.Problem(path, "", "%q does not begin with /", value)
	case strings.ContainsAny(value, "?#") || !printable.Is(value):
		d.Problem(path, "a path ends before the ?", "%q has ?, #, or characters that can't be seen", value)
	}
}

func (d *Doc) methods(path string, methods []string) []string {
	if methods != nil && len(methods) == 0 {
		d.Problem(path, "leave it out to match all", "is empty")
	}
	for i, m := range methods {
		at := document.Index(path, i)
		switch {
		case m != strings.ToUpper(m):
			d.Problem(at, strings.ToUpper(m), "%q: methods are in capitals", m)
		case m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "":
			d.Problem(at, "", "%q is not a method", m)
		case slices.Contains(methods[:i], m):
			d.Problem(at, "", "%s is listed twice", m)
		}
	}
	return methods
}

func (d *Doc) headerMatch(path string, h header) HeaderMatch {
	made := HeaderMatch{Name: h.Name}
	if h.Name != "" && !httpguts.ValidHeaderFieldName(h.Name) {
		hint := ""
		if strings.HasPrefix(h.Name, ":") {
			hint = "hosts, methods, path, prefix and regex of the route say this"
		}
		d.Problem(path+".name", hint, "%q is not the name of a header", h.Name)
	}
	given := 0
	test := func(is HeaderTest, field, value string) {
		if value == "" {
			return
		}
		if given++; given > 1 {
			d.Problem(path+"."+field, "write a second entry: all must match", "can't be combined with another of exact, prefix, regex and present")
		}
		made.Is, made.Value = is, value
		if !httpguts.ValidHeaderFieldValue(value) {
			d.Problem(path+"."+field, "", "%q can't be in a header", value)
		}
	}
	test(HeaderExact, "exact", h.Exact)
	test(HeaderPrefix, "prefix", h.Prefix)
	test(HeaderRegex, "regex", h.Regex)
	d.regex(path+".regex", h.Regex)
	if h.Present != nil {
		test(HeaderPresent, "present", fmt.Sprint(*h.Present))
		if made.Value = ""; !*h.Present {
			made.Is = HeaderAbsent
		}
	}
	if given == 0 {
		d.Problem(path, "exact, prefix, regex or present", "does not say what the header has to be")
	}
	return made
}

// pathPrefix checks what replaces the matched part of a path.
func (d *Doc) pathPrefix(path string, r route, prefix string) {
	d.urlPath(path, prefix)
	switch {
	case r.Regex != "":
		d.Problem(path, "", "needs a route with prefix or path: of a regex nobody can say what it takes the place of")
	case r.Prefix != "" && strings.HasSuffix(prefix, "/") && !strings.HasSuffix(r.Prefix, "/"):
		d.Warn(path, fmt.Sprintf("give prefix %s/ a route of its own, before this one", r.Prefix), "of %s/x Envoy makes %s/x", r.Prefix, prefix)
	}
}

func (d *Doc) redirect(path string, r route) *Redirect {
	for _, other := range []struct {
		field string
		set   bool
	}{
		{"upstream", r.Upstream != ""}, {"tls", r.TLS}, {"upstreams", r.Upstreams != nil}, {"rewrite", r.Rewrite != nil},
		{"timeout", r.Timeout != ""}, {"retries", r.Retries != nil},
	} {
		if other.set {
			d.Problem(path+"."+other.field, "", "can't be combined with redirect")
		}
	}
	to, at := r.Redirect, path+".redirect"
	made := Redirect{Scheme: to.Scheme, Host: strings.ToLower(to.Host), Path: to.Path, Prefix: to.Prefix, Code: 301}
	if to.Port != nil {
		if made.Port = *to.Port; made.Port < 1 || made.Port > 65535 {
			d.Problem(at+".port", "", "%d is not a port", made.Port)
		}
	} else if made == (Redirect{Code: 301}) {
		d.Problem(at, "say scheme, host, port, path or prefix", "leads to where the request came from")
	}
	if to.Host != "" && !isHost(made.Host) {
		d.Problem(at+".host", "", "%q is not the name of a host", to.Host)
	}
	if to.Path != "" && to.Prefix != "" {
		d.Problem(at+".prefix", "", "can't be combined with path")
	}
	d.urlPath(at+".path", to.Path)
	if to.Prefix != "" {
		d.pathPrefix(at+".prefix", r, to.Prefix)
	}
	if to.Code != nil {
		if made.Code = *to.Code; !slices.Contains([]int{301, 302, 303, 307, 308}, made.Code) {
			d.Problem(at+".code", "301, 302, 303, 307 or 308", "%d is not one of a redirect", made.Code)
		}
	}
	return &made
}

// retryOn are Envoy's names of retry conditions.
var retryOn = []string{
	"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx", "refused-stream",
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

// RetryOn returns the conditions under which a request may be retried.
func RetryOn() []string { return slices.Clone(retryOn) }

func (d *Doc) retries(path string, r *retries) *Retries {
	made := &Retries{On: r.On, Attempts: 1, PerTry: r.PerTry}
	if r.On != nil && len(r.On) == 0 {
		d.Problem(path+".on", "", "is empty")
	}
	for i, on := range r.On {
		at := document.Index(path+".on", i)
		switch {
		case !slices.Contains(retryOn, on):
			d.Problem(at, document.Suggest(on, retryOn), "%q is none of %s", on, strings.Join(retryOn, ", "))
		case slices.Contains(r.On[:i], on):
			d.Problem(at, "", "%s is listed twice", on)
		}
	}
	if r.Attempts != nil {
		if made.Attempts = *r.Attempts; made.Attempts < 1 || made.Attempts > 100 {
			d.Problem(path+".attempts", "leave retries out to try once", "%d, needs 1 to 100", made.Attempts)
		}
	}
	if t, err := time.ParseDuration(r.PerTry); r.PerTry != "" && err == nil && t == 0 {
		d.Problem(path+".perTry", "leave it out: each try may take what the route's timeout leaves", "is no time")
	} else {
		d.duration(path+".perTry", "", r.PerTry)
	}
	return made
}

func (d *Doc) duration(path, hint, value string) {
	if value == "" {
		return
	}
	if t, err := time.ParseDuration(value); err != nil || t < 0 {
		d.Problem(path, hint, "%q is not a duration like 15s or 500ms", value)
	}
}
