package definition

import (
	"net/url"
	"strings"
)

// masked replaces what nobody must read.
const masked = "xxxxx"

// MaskURL returns a URL that is safe to show. User, password and query values
// are often secrets (a presigned URL is one as a whole), so they are replaced.
func MaskURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		scheme, _, ok := strings.Cut(raw, "://")
		if !ok || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz") != "" {
			return masked
		}
		return scheme + "://" + masked
	}
	return Mask(u)
}

// Mask is like MaskURL for a parsed URL.
func Mask(u *url.URL) string {
	shown := *u
	if u.User != nil {
		shown.User = url.User(masked)
	}
	if u.Opaque != "" && u.Scheme != "file" {
		shown.Opaque = masked
	}
	if u.RawQuery != "" {
		parts := strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' })
		for i, part := range parts {
			if name, _, ok := strings.Cut(part, "="); ok {
				parts[i] = name + "=" + masked
			} else {
				parts[i] = masked
			}
		}
		shown.RawQuery = strings.Join(parts, "&")
	}
	if u.Fragment != "" {
		shown.Fragment, shown.RawFragment = masked, ""
	}
	return shown.String()
}
