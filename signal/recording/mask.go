package recording

import (
	"net/url"
	"regexp"
	"strings"
)

// Masked stands where a secret was, or what may be one.
const Masked = "masked"

// secretWords are in names of what is secret: what is masked for nothing can be written
// again, and what is told can't be taken back.
var secretWords = []string{"auth", "cookie", "token", "secret", "passw", "pwd", "key", "session", "sid", "credential", "signature", "sig",
	"jwt", "csrf", "xsrf", "code", "otp", "assertion", "saml", "bearer", "nonce", "hmac", "cert", "login", "email", "phone"}

func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, w := range secretWords {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

var (
	scheme = regexp.MustCompile(`(?i)\b(basic|bearer|digest|negotiate|ntlm|hoba|mutual|aws4-hmac-sha256)\s+\S`)
	jwt    = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}`)
	// long is what is too long, and too much of one piece, to be a word.
	long = regexp.MustCompile(`[A-Za-z0-9+_=~-]{24,}`)
	// encoded is what may be base64, which has slashes, as paths have.
	encoded = regexp.MustCompile(`[A-Za-z0-9+/_=-]{32,}`)
	address = regexp.MustCompile(`^(/|[A-Za-z][A-Za-z0-9+.-]*://)`)
)

// secretValue says whether a text looks like a secret: credentials as in authorization, a
// token, or a long run of letters and digits.
func secretValue(value string) bool {
	if scheme.MatchString(value) || jwt.MatchString(value) {
		return true
	}
	for _, run := range long.FindAllString(value, -1) {
		if strings.ContainsAny(run, "0123456789") {
			return true
		}
	}
	for _, run := range encoded.FindAllString(value, -1) {
		if strings.ContainsAny(run, "0123456789") && strings.ToLower(run) != run && strings.ToUpper(run) != run {
			return true
		}
	}
	return false
}

// secretPair says whether a header's value has a name=value whose name is that of a
// secret, as cookies and forms do.
func secretPair(value string) bool {
	for _, part := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(";,&? \t", r) }) {
		if name, _, has := strings.Cut(part, "="); has && secretName(name) {
			return true
		}
	}
	return false
}

// maskHeader is a header's value as it may be told.
func maskHeader(name, value string) string {
	switch {
	case secretName(name):
		return Masked
	case name == "referer", address.MatchString(value): // also x-original-uri and the like
		return maskURL(value)
	case secretValue(value), secretPair(value):
		return Masked
	}
	return value
}

// maskURL is a URL as it may be told.
func maskURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		return Masked
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	rest := maskPath(u.EscapedPath() + query(u.RawQuery))
	if u.Host == "" {
		return rest
	}
	return u.Scheme + "://" + u.Host + rest
}

func query(raw string) string {
	if raw == "" {
		return ""
	}
	return "?" + raw
}

// maskPath is a path with its query as it may be told.
func maskPath(text string) string {
	text, _, _ = strings.Cut(text, "#")
	where, raw, asked := strings.Cut(text, "?")
	segments := strings.Split(where, "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil || secretValue(plain) || strings.Contains(plain, "=") && secretName(plain) {
			segments[i] = Masked
		}
	}
	where = strings.Join(segments, "/")
	if !asked {
		return where
	}
	pairs := strings.FieldsFunc(raw, func(r rune) bool { return r == '&' || r == ';' })
	for i, p := range pairs {
		name, value, has := strings.Cut(p, "=")
		plainName, err := url.QueryUnescape(name)
		plain, err2 := url.QueryUnescape(value)
		switch {
		case err != nil || err2 != nil || secretValue(plainName):
			pairs[i] = Masked
		case has && (secretName(plainName) || secretValue(plain) || strings.Contains(plain, "=") && secretName(plain)):
			pairs[i] = name + "=" + Masked
		}
	}
	return where + "?" + strings.Join(pairs, "&")
}

// host is an authority without who asks.
func host(authority string) string {
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	return authority
}
