package module

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// ErrNotHTTP is what Told returns if an error has more details than may be
// shown.
var ErrNotHTTP = errors.New("the answer is not valid HTTP")

// Told returns the part of an error about an HTTP request that may be shown.
// The author of a definition may not be allowed to send the request, so the
// result has nothing of the response: not its body, headers, or any data that
// is not HTTP. Nor does it have the URL, which may contain a password or a
// token.
func Told(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if err == io.EOF {
		return errors.New("the origin closed the connection without an answer")
	}
	for _, known := range []func(error) error{
		as[*ContentError], as[*statusError], as[*redirectError], as[*net.OpError], as[*net.DNSError], as[syscall.Errno],
		as[*tls.CertificateVerificationError], as[x509.UnknownAuthorityError], as[x509.CertificateInvalidError], as[x509.HostnameError],
		as[tls.AlertError], as[tls.RecordHeaderError],
	} {
		if e := known(err); e != nil {
			return e
		}
	}
	for _, known := range []error{io.ErrUnexpectedEOF, context.Canceled, context.DeadlineExceeded, http.ErrSchemeMismatch} {
		if errors.Is(err, known) {
			return known
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return errors.New("the origin took too long to answer")
	}
	if strings.HasPrefix(err.Error(), "tls: ") {
		return err
	}
	return ErrNotHTTP
}

// as returns the error of a type that err wraps, or nil if there is none.
func as[E error](err error) error {
	if e, ok := errors.AsType[E](err); ok {
		return e
	}
	return nil
}

// redirectError is a redirect that is not followed.
type redirectError struct{ message string }

func (e *redirectError) Error() string { return e.message }
