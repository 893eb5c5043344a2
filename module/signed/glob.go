package signed

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"wasmxds/definition"
)

// requires reports whether the module of a URL must be signed. A definition may
// write a host in other ways: with capitals, a trailing dot, or the default
// port.
func (p Policy) requires(written string) bool {
	plain := normal(written)
	for _, glob := range p.Required {
		if matches(glob, written) || matches(glob, plain) || matches(normal(glob), plain) {
			return true
		}
	}
	return false
}

// normal returns a URL with host and port in canonical form.
func normal(raw string) string {
	scheme, rest, ok := strings.Cut(definition.ImageURL(raw), "://")
	if !ok {
		return raw
	}
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		host = host[i+1:]
	}
	if u, err := url.PathUnescape(host); err == nil {
		host = u
	}
	host, port := split(strings.ToLower(host))
	if port == map[string]string{"http": "80", "https": "443", "oci": "443"}[strings.ToLower(scheme)] {
		port = ""
	}
	for _, hub := range []string{definition.DockerHubHost, "registry-1.docker.io"} {
		if host == hub {
			host = definition.DockerHub
		}
	}
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	return strings.ToLower(scheme) + "://" + host + "/" + path
}

// split splits host and port, and canonicalizes an IP address.
func split(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = strings.Trim(hostport, "[]"), ""
	}
	host = strings.TrimSuffix(host, ".")
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return host, port
}

func matches(glob, text string) bool {
	return regexp.MustCompile(`(?s)` + expression(glob)).MatchString(text)
}

// expression returns a regular expression for a whole text in which * matches
// any text.
func expression(glob string) string {
	return `\A` + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`) + `\z`
}

// exact and pattern return an identity in the forms of sigstore: the former if
// it has no *, the latter if it has.
func exact(identity string) string {
	if strings.Contains(identity, "*") {
		return ""
	}
	return identity
}

func pattern(identity string) string {
	if !strings.Contains(identity, "*") {
		return ""
	}
	return expression(identity)
}
