package definition

import (
	"path/filepath"
	"strings"

	"wasmxds/printable"
)

type listenerTLS struct {
	Cert         string `json:"cert,omitempty" jsonschema_description:"File of the certificate and those between it and its authority, in PEM: a path from this file."`
	Key          string `json:"key,omitempty" jsonschema_description:"File of its private key."`
	ClientCA     string `json:"clientCA,omitempty" jsonschema_description:"File of certificate authorities. Clients must have a certificate of one of them."`
	Secret       string `json:"secret,omitempty" jsonschema:"maxLength=253" jsonschema_description:"Of an object of a Kubernetes cluster, in place of cert and key: name of a Secret of its namespace with tls.crt and tls.key."`
	ClientSecret string `json:"clientSecret,omitempty" jsonschema:"maxLength=253" jsonschema_description:"In place of clientCA: name of a Secret with ca.crt."`
}

// TLS describes where a listener's certificate is, and what it requires of
// clients. The content of files and Secrets may change at any time.
type TLS struct {
	// Cert, Key and ClientCA are paths as they are written; "": none.
	Cert, Key, ClientCA string
	// Folder is what paths are resolved against. It is not part of the
	// definition's content.
	Folder string
	// Secret and ClientSecret name Secrets used instead of files:
	// NAMESPACE/NAME.
	Secret, ClientSecret string
}

// Path resolves a path as it is written.
func (t TLS) Path(written string) string {
	if filepath.IsAbs(written) {
		return filepath.Clean(written)
	}
	return filepath.Join(t.Folder, written)
}

// Clients reports whether clients need a certificate.
func (t TLS) Clients() bool { return t.ClientCA != "" || t.ClientSecret != "" }

func (d *Doc) tls(w *listenerTLS) *TLS {
	if w == nil {
		return nil
	}
	made := &TLS{Cert: w.Cert, Key: w.Key, ClientCA: w.ClientCA, Folder: d.base}
	if d.InCluster() {
		for _, f := range []struct{ field, value string }{{"cert", w.Cert}, {"key", w.Key}, {"clientCA", w.ClientCA}} {
			if f.value != "" {
				d.Problem("tls."+f.field, "name a Secret: secret, clientSecret", "files are not for objects of a cluster")
			}
		}
		if w.Secret == "" {
			d.needed("tls.secret", "")
		}
		made.Folder = ""
		made.Secret = d.secretName("tls.secret", w.Secret)
		made.ClientSecret = d.secretName("tls.clientSecret", w.ClientSecret)
		return made
	}
	for _, f := range []struct{ field, value string }{{"secret", w.Secret}, {"clientSecret", w.ClientSecret}} {
		if f.value != "" {
			d.Problem("tls."+f.field, "name files: cert, key, clientCA", "is for objects of a Kubernetes cluster")
		}
	}
	for _, f := range []struct{ field, value string }{{"cert", w.Cert}, {"key", w.Key}} {
		if f.value == "" {
			d.needed("tls."+f.field, "")
		}
	}
	for _, f := range []struct{ field, value string }{{"cert", w.Cert}, {"key", w.Key}, {"clientCA", w.ClientCA}} {
		switch {
		case f.value == "":
		case strings.Contains(f.value, "://") || !printable.Is(f.value):
			d.Problem("tls."+f.field, "", "%q is not a path", f.value)
		case d.base == "" && !filepath.IsAbs(f.value):
			d.Problem("tls."+f.field, "give an absolute path, below a --tls-root", "is a path, but there is no folder that it could be in")
		}
	}
	return made
}

// secretName returns the qualified name of a Secret in the document's
// namespace.
func (d *Doc) secretName(path, name string) string {
	if name == "" {
		return ""
	}
	if strings.ContainsAny(name, `/\`) || name == ".." {
		d.Problem(path, "", "%q is not the name of a Secret", name)
	}
	return d.scope.Namespace + "/" + name
}
