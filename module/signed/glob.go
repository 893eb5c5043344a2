package signed

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"wasmxds/definition"
)

// requires says whether the module of a URL must be signed. Who writes definitions may
// write a host in other ways: with capitals, a dot behind, or the port that is meant
// anyway.
func (p Policy) requires(written string) bool {
	plain := normal(written)
	for _, glob := range p.Required {
		if matches(glob, written) || matches(glob, plain) || matches(normal(glob), plain) {
			return true
		}
	}
	return false
}

// normal is a URL of which host and port are written in one way.
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

// split tells host and port apart; an IP address is in its usual form then.
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

// expression is the regular expression of all of a text in which * stands for anything.
func expression(glob string) string {
	return `\A` + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`) + `\z`
}

// exact and pattern are an identity as sigstore has it: the one where it has no *, the
// other where it has.
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
