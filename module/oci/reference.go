package oci

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"wasmxds/definition"
	"wasmxds/module"
)

// Reference identifies an image or artifact:
// oci://registry[:port]/repository[:tag][@sha256:digest].
type Reference struct {
	Registry   string // host, with an optional port
	Repository string
	Tag        string // "latest" if there is neither a tag nor a digest
	Digest     string // "sha256:…"; takes precedence over the tag
}

// From the distribution specification.
var (
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestPattern     = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)
)

// Parse parses an oci:// URL. The registry may be omitted, as in
// [definition.ImageURL].
func Parse(raw string) (Reference, error) {
	wrong := func(format string, args ...any) (Reference, error) {
		return Reference{}, &module.ContentError{
			Message: fmt.Sprintf("module.url %.200q: %s", definition.MaskURL(raw), fmt.Sprintf(format, args...)),
			Hint:    "write oci://registry/repository:tag or oci://registry/repository@sha256:…",
		}
	}
	rest, ok := strings.CutPrefix(definition.ImageURL(raw), "oci://")
	if !ok {
		return wrong("doesn't begin with oci://")
	}
	registry, repository, _ := strings.Cut(rest, "/")
	if u, err := url.Parse("//" + registry); err != nil || u.Host != registry || u.Hostname() == "" {
		return wrong("has no registry's host")
	}
	repository, digest, hasDigest := strings.Cut(repository, "@")
	if hasDigest && !digestPattern.MatchString(digest) {
		return wrong("what is after the @ is no digest")
	}
	repository, tag, hasTag := strings.Cut(repository, ":")
	if hasTag && !tagPattern.MatchString(tag) {
		return wrong("what is after the last : is no tag")
	}
	if !repositoryPattern.MatchString(repository) || len(repository) > 255 {
		shown, _, _ := strings.Cut(repository, "?") // a query may be secret
		return wrong("%q is no repository", shown)
	}
	if !hasTag && !hasDigest {
		tag = "latest"
	}
	return Reference{registry, repository, tag, digest}, nil
}

func (r Reference) String() string {
	s := "oci://" + r.Registry + "/" + r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// remote returns the reference in the client's type.
func (r Reference) remote(plainHTTP bool) (name.Reference, error) {
	var options []name.Option
	if plainHTTP {
		options = append(options, name.Insecure) // https first, then http
	}
	registry, err := name.NewRegistry(r.Registry, options...)
	if err != nil {
		return nil, err
	}
	repository := registry.Repo(r.Repository)
	if r.Digest != "" {
		return repository.Digest(r.Digest), nil
	}
	return repository.Tag(r.Tag), nil
}
