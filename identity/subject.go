package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Of returns the identities in a verified certificate: its URIs and DNS names.
// It omits names that could be taken for a URI, and SPIFFE IDs in a certificate
// that violates SPIFFE's rules (exactly one URI,
// https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
func Of(cert *x509.Certificate) []string {
	var ids []string
	for _, u := range cert.URIs {
		id := u.String()
		if isSPIFFE(id) {
			if _, err := spiffeid.FromString(id); err != nil || len(cert.URIs) != 1 {
				continue
			}
		}
		if isURI(id) {
			ids = append(ids, id)
		}
	}
	for _, name := range cert.DNSNames {
		if name = strings.ToLower(strings.TrimSuffix(name, ".")); isName.MatchString(name) {
			ids = append(ids, name)
		}
	}
	return ids
}

// isName matches a DNS name, including wildcards.
var isName = regexp.MustCompile(`^[a-z0-9_*-]+(\.[a-z0-9_*-]+)*$`)

func isURI(s string) bool { return strings.Contains(s, ":") }

func isSPIFFE(s string) bool {
	return len(s) >= 9 && strings.EqualFold(s[:9], "spiffe://")
}

// subject is a pattern for identities.
type subject struct {
	pattern   *regexp.Regexp
	wildcards int
}

// newSubject parses a URI or DNS name with wildcards.
func newSubject(text string) (subject, error) {
	separator := "."
	if isURI(text) {
		separator = "/"
		if err := checkURI(text); err != nil {
			return subject{}, err
		}
	} else if text = strings.ToLower(strings.TrimSuffix(text, ".")); !isName.MatchString(text) {
		return subject{}, errors.New("is neither a URI nor a DNS name")
	}
	text, all := strings.CutSuffix(text, "/**")
	if strings.Contains(text, "**") {
		return subject{}, errors.New("has ** elsewhere than at the end of a path")
	}
	var b strings.Builder
	b.WriteString("^")
	parts := strings.Split(text, "*")
	for i, part := range parts {
		if i > 0 {
			b.WriteString("([^" + separator + "]+)")
		}
		b.WriteString(regexp.QuoteMeta(part))
	}
	s := subject{wildcards: len(parts) - 1}
	if all {
		b.WriteString("/(.+)")
		s.wildcards++
	}
	var err error
	s.pattern, err = regexp.Compile(b.String() + "$")
	return s, err
}

// checkURI returns an error if a URI has wildcards that would span name spaces:
// the scheme and, in a SPIFFE ID, the trust domain must be literal.
func checkURI(text string) error {
	scheme, rest, _ := strings.Cut(text, ":")
	if scheme == "" || strings.Contains(scheme, "*") {
		return errors.New("needs its scheme written out")
	}
	authority, hasAuthority := strings.CutPrefix(rest, "//")
	authority, _, _ = strings.Cut(authority, "/")
	if hasAuthority && strings.Contains(authority, "*") {
		return errors.New("needs its host or trust domain written out")
	}
	if !isSPIFFE(text) {
		return nil
	}
	// Check it as an ID, with a valid character in place of the wildcards.
	id := strings.ReplaceAll(strings.TrimSuffix(text, "/**"), "*", "x")
	if _, err := spiffeid.FromString(id); err != nil {
		return fmt.Errorf("is not a SPIFFE ID: %w", err)
	}
	return nil
}

// match reports whether an identity matches, and returns the text that the
// wildcards match.
func (s subject) match(identity string) (found []string, ok bool) {
	if m := s.pattern.FindStringSubmatch(identity); m != nil {
		return m[1:], true
	}
	return nil, false
}

// reference matches $1 to $9, or an escaped $.
var reference = regexp.MustCompile(`\$[0-9$]?`)

// expand replaces references in globs by the text that wildcards matched, which
// is taken literally.
func expand(globs, found []string) []string {
	if globs == nil {
		return nil
	}
	globs = slices.Clone(globs)
	for i, glob := range globs {
		globs[i] = reference.ReplaceAllStringFunc(glob, func(ref string) string {
			if ref == "$$" {
				return "$"
			}
			return literal(found[ref[1]-'1'])
		})
	}
	return globs
}

// literal escapes the special characters of path.Match.
func literal(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// checkGlob returns an error if a glob is malformed, or a reference has no
// wildcard.
func checkGlob(glob string, wildcards int) error {
	for _, ref := range reference.FindAllString(glob, -1) {
		switch {
		case ref == "$$":
		case ref == "$" || ref == "$0":
			return fmt.Errorf("has a $ that is followed by neither 1 to 9 nor $")
		case int(ref[1]-'0') > wildcards:
			return fmt.Errorf("has %s, but an entry of who has only %d of *", ref, wildcards)
		}
	}
	return checkMatch(reference.ReplaceAllString(glob, "x"))
}
