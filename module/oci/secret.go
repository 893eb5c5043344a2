package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/module"
)

const maxSecret = 1 << 20 // bytes

// secret reads the pull secret that a definition names. It ignores credential
// helpers: definitions must not choose programs to run.
func (f *Fetcher) secret(ctx context.Context, named string) (authn.Keychain, error) {
	b, found, err := f.secretFile(named)
	switch {
	case err != nil:
		return nil, err
	case found:
	case f.options.Elsewhere == nil:
		return nil, f.noSecret(named)
	default:
		if b, err = f.options.Elsewhere(ctx, named); err != nil {
			return nil, &secretError{named, err}
		}
	}
	keys, err := parseSecret(b)
	if err != nil {
		return nil, &module.ContentError{Message: fmt.Sprintf("pull secret %q: %v", named, err), Hint: secretHint}
	}
	return keys, nil
}

// secretError means that Elsewhere did not return a pull secret. It may do so
// later.
type secretError struct {
	named string
	err   error
}

func (e *secretError) Error() string { return fmt.Sprintf("pull secret %q: %v", e.named, e.err) }
func (e *secretError) Unwrap() error { return e.err }

func (f *Fetcher) noSecret(named string) error {
	if f.options.Secrets == "" {
		return &module.ContentError{Message: fmt.Sprintf("pull secret %q: no folder of pull secrets is configured", named), Hint: "set --pull-secrets to the folder that it is in"}
	}
	return &module.ContentError{Message: fmt.Sprintf("pull secret %q: there is no such file", named)}
}

// secretFile reads a pull secret in the folder of secrets, if it exists.
func (f *Fetcher) secretFile(named string) (content []byte, found bool, err error) {
	if f.options.Secrets == "" {
		return nil, false, nil
	}
	at := named
	if !filepath.IsAbs(named) {
		at = filepath.Join(f.options.Secrets, named)
	}
	roots, err := files.NewRoots(f.options.Secrets)
	if err != nil {
		return nil, false, err
	}
	for _, path := range []string{at, at + ".json"} {
		b, err := readSecret(roots, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, files.ErrOutside):
			return nil, false, &module.ContentError{Message: fmt.Sprintf("pull secret %q is outside the folder of pull secrets, or links to a file outside it", named), Hint: "put it below --pull-secrets, and give its path relative to that folder"}
		case errors.Is(err, files.ErrNotRegular), errors.Is(err, files.ErrTooLarge):
			return nil, false, &module.ContentError{Message: fmt.Sprintf("pull secret %q: %v", named, errors.Unwrap(err)), Hint: secretHint}
		case err != nil:
			return nil, false, &module.ContentError{Message: fmt.Sprintf("pull secret %q: %v", named, errors.Unwrap(err)), Hint: "make it readable for the user that xds-server runs as"}
		default:
			return b, true, nil
		}
	}
	return nil, false, nil
}

const secretHint = `it must be like docker's config.json: {"auths": {"registry": {"auth": …}}}`

// readSecret reads a file, or the file in a mounted Kubernetes secret.
func readSecret(roots files.Roots, path string) ([]byte, error) {
	stat, err := roots.Stat(path)
	if err != nil {
		return nil, err
	}
	if stat.IsDir() {
		path = filepath.Join(path, ".dockerconfigjson")
	}
	return roots.Read(path, maxSecret)
}

// keys has credentials by registry.
type keys map[string]authn.AuthConfig

// parseSecret parses the file that docker login writes. Its errors reveal no
// content.
func parseSecret(b []byte) (keys, error) {
	var config struct {
		Auths map[string]struct {
			Auth, Username, Password, IdentityToken, RegistryToken string
		} `json:"auths"`
	}
	if err := json.Unmarshal(b, &config); err != nil {
		return nil, errors.New("it is not JSON of the expected form")
	}
	out := keys{}
	for registry, a := range config.Auths {
		c := authn.AuthConfig{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
		if a.Auth != "" {
			pair, err := base64.StdEncoding.DecodeString(a.Auth)
			user, password, ok := strings.Cut(string(pair), ":")
			if err != nil || !ok {
				return nil, errors.New("the auth of one of its registries is not base64 of user:password")
			}
			c.Username, c.Password = user, strings.TrimRight(password, "\x00")
		}
		out[hostOf(registry)] = c
	}
	return out, nil
}

// hostOf returns the registry that a key of docker's config is for.
func hostOf(key string) string {
	_, rest, hasScheme := strings.Cut(key, "://")
	if hasScheme {
		key = rest
	}
	host, _, _ := strings.Cut(key, "/")
	if host == definition.DockerHub || host == "registry-1.docker.io" {
		return definition.DockerHubHost
	}
	return host
}

// Resolve implements authn.Keychain.
func (k keys) Resolve(target authn.Resource) (authn.Authenticator, error) {
	if c, ok := k[hostOf(target.RegistryStr())]; ok {
		return authn.FromConfig(c), nil
	}
	return authn.Anonymous, nil
}
