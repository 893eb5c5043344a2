package oci

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"wasmxds/definition"
	"wasmxds/module"
)

const maxSecret = 1 << 20 // bytes

// secret reads the pull secret that a definition names. Credential helpers
// in it are not run: definitions must not choose programs.
func (f *Fetcher) secret(named string) (authn.Keychain, error) {
	var candidates []string
	switch {
	case filepath.IsAbs(named):
		candidates = []string{named}
	case f.options.Secrets == "":
		return nil, &module.ContentError{Message: fmt.Sprintf("pull secret %q: there is no folder of secrets", named), Hint: "give an absolute path"}
	case !filepath.IsLocal(named):
		return nil, &module.ContentError{Message: fmt.Sprintf("pull secret %q leads out of the folder of secrets", named)}
	default:
		at := filepath.Join(f.options.Secrets, named)
		candidates = []string{at, at + ".json"}
	}
	for _, path := range candidates {
		b, err := readSecret(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pull secret %q: %w", named, err)
		}
		keys, err := parseSecret(b)
		if err != nil {
			return nil, &module.ContentError{Message: fmt.Sprintf("pull secret %q: %v", named, err), Hint: `it must be like docker's config.json: {"auths": {"registry": {"auth": …}}}`}
		}
		return keys, nil
	}
	return nil, &module.ContentError{Message: fmt.Sprintf("pull secret %q: there is no such file", named)}
}

// readSecret reads a file, or the one that a mounted Kubernetes secret has.
func readSecret(path string) ([]byte, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if stat.IsDir() {
		path = filepath.Join(path, ".dockerconfigjson")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxSecret))
}

// keys are credentials by registry.
type keys map[string]authn.AuthConfig

// parseSecret reads what docker login writes. Its errors don't show content.
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
				return nil, fmt.Errorf("auth of %q is not base64 of user:password", registry)
			}
			c.Username, c.Password = user, strings.TrimRight(password, "\x00")
		}
		out[hostOf(registry)] = c
	}
	return out, nil
}

// hostOf gives the registry that a key of docker's config is for.
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

// Resolve is authn.Keychain's.
func (k keys) Resolve(target authn.Resource) (authn.Authenticator, error) {
	if c, ok := k[hostOf(target.RegistryStr())]; ok {
		return authn.FromConfig(c), nil
	}
	return authn.Anonymous, nil
}
