package definition

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Path returns the path of a module that is a file: /a/b for file:///a/b, and
// a/b, relative to the working directory, for file:a/b.
func (m Module) Path() (string, bool) {
	u, err := url.Parse(m.URL)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	path := u.Path
	if u.Opaque != "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", false
		}
	}
	return filepath.FromSlash(path), true
}

// FileURL is the inverse of Path: it returns file:///a/b, or file:a/b for a
// relative path.
func FileURL(path string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	if !filepath.IsAbs(path) {
		u = url.URL{Scheme: "file", Opaque: (&url.URL{Path: u.Path}).EscapedPath()}
	}
	return u.String()
}

const schemes = "file://, http://, https:// or oci://"

// module checks a module and makes its URL absolute.
func (d *Doc) module(m module) Module {
	if missing := lostScheme(m.URL); missing != "" {
		d.Problem("module.url", fmt.Sprintf("%s%s, or ./%s for the file", missing, m.URL, m.URL), "is a path, but begins with the name of a host")
	}
	made := Module{
		URL:    d.ModuleURL("module.url", m.URL),
		SHA256: d.SHA256("module.sha256", m.SHA256),
		Fetch:  m.Fetch, Pull: m.Pull, PullSecret: m.PullSecret,
	}
	if made.Fetch == "" {
		made.Fetch = Mirror
	}
	made.Signed = d.signed("module.signed", m.Signed, made)
	isOCI := strings.HasPrefix(made.URL, "oci://")
	if m.PullSecret != "" && !isOCI {
		d.Problem("module.pullSecret", "", "is for oci:// only")
	}
	if made.Fetch == Direct {
		switch {
		case made.URL != "" && !IsHTTP(made.URL):
			d.Problem("module.fetch", "use mirror", "direct needs http:// or https://, since Envoy fetches nothing else")
		case m.SHA256 == "":
			d.Problem("module.sha256", "use fetch: mirror where the module isn't pinned", "is needed for fetch: direct, since Envoy fetches nothing without it")
		case m.Pull != "":
			d.Problem("module.pull", "", "is for fetch: mirror only")
		}
	}
	return made
}

// lostScheme returns the scheme that a path lacks if it looks like a URL without
// one, and otherwise "". A path that only looks like it can be written with ./.
func lostScheme(path string) string {
	host, rest, several := strings.Cut(path, "/")
	name, port, _ := strings.Cut(host, ":")
	switch {
	case !several || rest == "" || strings.Contains(path, "://") || host == "" || host[0] == '.':
		return ""
	case !strings.Contains(host, ".") && port == "" && host != "localhost":
		return ""
	case name == "file" || name == "http" || name == "https" || name == "oci": // see ModuleURL
		return ""
	case !strings.HasSuffix(path, ".wasm"):
		return "oci://"
	case port != "":
		return "http://"
	}
	return "" // a folder's name may have a dot
}

// ModuleURL checks a URL and makes it absolute. A relative path is resolved
// against the folder of the file.
func (d *Doc) ModuleURL(path, written string) string {
	for _, mark := range []string{"${", "{{"} {
		if strings.Contains(written, mark) {
			d.Problem(path, "", "%q has a placeholder, and nothing replaces it here", written)
			return ""
		}
	}
	scheme, _, hasScheme := strings.Cut(written, "://")
	if !hasScheme {
		switch {
		case written == "":
			return "" // Decode has reported that it is missing, or:
		case strings.HasPrefix(written, "file:"):
			d.Problem(path, "a relative path is written without file:", "file: needs an absolute path: file:///a/b.wasm")
			return ""
		case strings.HasPrefix(written, "http:"), strings.HasPrefix(written, "https:"), strings.HasPrefix(written, "oci:"):
			name, rest, _ := strings.Cut(written, ":")
			d.Problem(path, name+"://"+strings.TrimLeft(rest, "/"), "lacks // after %s:", name)
			return ""
		case filepath.IsAbs(written):
		case d.base == "":
			d.Problem(path, "needs "+schemes, "is a path, but there is no folder that it could be in")
			return ""
		default:
			written = filepath.Join(d.base, written)
		}
		return FileURL(filepath.Clean(written))
	}
	written = ImageURL(written)
	u, err := url.Parse(written)
	switch {
	case err != nil:
		// The quoted text may be a password that was taken for a port.
		why, _, _ := strings.Cut(errors.Unwrap(err).Error(), ` "`)
		d.Problem(path, "", "is not a URL: %s", why)
		return ""
	case scheme == "file":
		if u.Host != "" || u.Path == "" {
			d.Problem(path, "a relative path is written without file://", "file:// needs an absolute path: file:///a/b.wasm")
		}
		return FileURL(filepath.Clean(filepath.FromSlash(u.Path)))
	case slices.Contains([]string{"file", "http", "https", "oci"}, strings.ToLower(scheme)) && scheme != strings.ToLower(scheme):
		d.Problem(path, "", "%s:// is written in lower case: %s://", scheme, strings.ToLower(scheme))
	case scheme != "http" && scheme != "https" && scheme != "oci":
		d.Problem(path, "", "%s:// is not known, needs %s or a path", scheme, schemes)
	case u.Host == "":
		d.Problem(path, "", "has no host")
	case scheme == "oci" && strings.Trim(u.Path, "/") == "":
		d.Problem(path, "", "names no repository: oci://registry/repository:tag")
	}
	return written
}

func IsHTTP(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}

// SHA256 checks a pinned hash and returns it in lower case.
func (d *Doc) SHA256(path, pin string) string {
	if pin == "" {
		return ""
	}
	lower := strings.ToLower(pin)
	if bare, ok := strings.CutPrefix(lower, "sha256:"); ok {
		d.Problem(path, "write the digits only, without sha256:", "%q is not a hash", pin)
		lower = bare
	}
	if i := strings.IndexFunc(lower, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }); i >= 0 {
		d.Problem(path, "", "%q is not a hex digit", []rune(lower[i:])[0])
	} else if len(lower) != 64 {
		d.Problem(path, "", "%d hex digits, needs 64", len(lower))
	}
	return lower
}
