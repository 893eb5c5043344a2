package definition

import (
	"net/url"
	"strings"
)

// masked stands for what nobody is to read.
const masked = "xxxxx"

// MaskURL gives a URL as people may see it: who it names as its user, with what
// password, and what its query says are often secrets (a presigned URL is one
// as a whole), and are not in it.
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

// Mask is MaskURL of one that is parsed.
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
