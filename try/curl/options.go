package curl

// long has the long names of options of one letter.
var long = map[rune]string{
	'X': "request", 'H': "header", 'd': "data", 'G': "get", 'I': "head", 'b': "cookie", 'A': "user-agent", 'e': "referer", 'u': "user",
	'F': "form", 'T': "upload-file", 'K': "config", 'n': "netrc",
	's': "silent", 'S': "show-error", 'v': "verbose", 'i': "include", 'k': "insecure", 'L': "location", 'f': "fail", 'g': "globoff", 'N': "no-buffer",
	'O': "remote-name", 'J': "remote-header-name", 'j': "junk-session-cookies", '#': "progress-bar", 'q': "disable", 'a': "append", 'R': "remote-time",
	'0': "http1.0", '1': "tlsv1", '2': "sslv2", '3': "sslv3", '4': "ipv4", '6': "ipv6",
	'o': "output", 'w': "write-out", 'm': "max-time", 'x': "proxy", 'U': "proxy-user", 'c': "cookie-jar", 'E': "cert", 'D': "dump-header", 'r': "range",
	'y': "speed-time", 'Y': "speed-limit", 'z': "time-cond", 'C': "continue-at",
}

// withValue has the options with a value, except those in ignoredWithValue.
var withValue = set(
	"request", "url", "header", "proxy-header", "data", "data-ascii", "data-binary", "data-raw", "data-urlencode", "json", "cookie", "user-agent", "referer",
	"user", "oauth2-bearer", "form", "form-string", "upload-file", "config", "variable", "aws-sigv4", "request-target", "range", "time-cond", "continue-at",
)

// ignored has options that do not change the request.
var ignored = set(
	"silent", "show-error", "verbose", "include", "insecure", "location", "location-trusted", "fail", "fail-with-body", "fail-early", "globoff", "no-buffer", "buffer",
	"remote-name", "remote-header-name", "junk-session-cookies", "progress-bar", "progress-meter", "disable", "append", "remote-time", "ipv4", "ipv6", "http0.9", "http1.0", "http1.1", "http2",
	"http2-prior-knowledge", "http3", "http3-only", "tlsv1", "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3", "sslv2", "sslv3", "ssl", "ssl-reqd", "basic", "anyauth", "post301", "post302", "post303",
	"tcp-nodelay", "tcp-fastopen", "keepalive", "path-as-is", "raw", "parallel", "create-dirs", "styled-output", "trace-time", "retry-connrefused", "retry-all-errors",
	"alpn", "npn", "sessionid", "cert-status", "proxy-insecure", "xattr", "suppress-connect-headers",
)

// ignoredWithValue has those of them that have a value.
var ignoredWithValue = set(
	"output", "output-dir", "write-out", "max-time", "connect-timeout", "stderr", "proxy", "proxy-user", "cookie-jar", "cert", "cert-type", "key", "key-type", "cacert", "capath", "dump-header",
	"speed-time", "speed-limit", "retry", "retry-delay", "retry-max-time", "limit-rate", "resolve", "connect-to", "interface", "max-redirs", "max-filesize", "ciphers", "tls13-ciphers",
	"curves", "dns-servers", "doh-url", "noproxy", "pass", "pinnedpubkey", "preproxy", "socks4", "socks4a", "socks5", "socks5-hostname", "tls-max", "trace", "trace-ascii",
	"unix-socket", "abstract-unix-socket", "local-port", "keepalive-time", "expect100-timeout", "happy-eyeballs-timeout-ms", "proto", "proto-default", "proto-redir", "engine", "ip-tos",
)

func set(names ...string) map[string]bool {
	made := make(map[string]bool, len(names))
	for _, name := range names {
		made[name] = true
	}
	return made
}

func takesValue(name string) bool { return withValue[name] || ignoredWithValue[name] }
