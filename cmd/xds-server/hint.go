package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"wasmxds/admin"
)

// hinted is an error with what its reader can do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// withHint adds a hint to an error; "" adds none.
func withHint(err error, hint string) error {
	if hint == "" {
		return err
	}
	return &hinted{err, hint}
}

// adminURL checks --admin.
func adminURL(admin string) error {
	if isHTTP(admin) {
		return nil
	}
	err := fmt.Errorf("--admin %q is not a URL like http://127.0.0.1:19000", admin)
	if with, e := url.Parse("http://" + admin); e == nil && with.Port() != "" && !strings.Contains(admin, "/") {
		err = fmt.Errorf("--admin %q has no scheme: try http://%s, or https://%s", admin, admin, admin)
	}
	return misused(err)
}

// isHTTP says whether text is a URL of a server of HTTP.
func isHTTP(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// noModule is what the module server answers where there is no such module.
const noModule = "no such module"

// askHint says what can be done about an error, which is not nil, of asking the
// admin address.
func askHint(err error) string {
	var failed *url.Error
	var refused *admin.Refused
	asked := ""
	if errors.As(err, &failed) {
		asked = failed.URL
	} else if errors.As(err, &refused) {
		asked = refused.URL
	}
	at := "there"
	if u, e := url.Parse(asked); e == nil && u.Host != "" {
		at = "at " + u.Host
	}
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens " + at + ": start xds-server, or set --admin to the address of its --admin-listen"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "what listens " + at + " does not use TLS: set --admin to http://…"
	case errors.As(err, &unknown):
		return "set --admin-ca to the file of the certificate authority"
	case errors.As(err, &refused) && refused.Code == http.StatusBadRequest && strings.Contains(refused.Text, "HTTPS server"):
		return "what listens " + at + " uses TLS: set --admin to https://… and, if needed, --admin-ca"
	case errors.As(err, &refused) && refused.Code == http.StatusUnauthorized:
		return "set --admin-token-file to a file with the token"
	case errors.As(err, &refused) && refused.Text == noModule, strings.Contains(err.Error(), "malformed HTTP"),
		errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET): // a gRPC server hangs up, and its last words may be lost
		return "what listens " + at + " does not answer as an admin address: set --admin to that of --admin-listen, not of --xds-listen or --modules-listen"
	}
	return ""
}

// listenHint says what can be done where an address can't be listened at.
func listenHint(err error, flag string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process listens there, perhaps another xds-server: stop it, or choose another address with " + flag
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address: use one of its own, or 0.0.0.0 for all"
	case errors.Is(err, syscall.EACCES):
		return "this user may not use that port: choose one above 1023, or grant CAP_NET_BIND_SERVICE"
	}
	return ""
}
