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

// ErrNotHTTP is what Told gives where an error tells more than people may read.
var ErrNotHTTP = errors.New("the answer is not HTTP as it should be")

// Told gives the part of an error about an HTTP request that people may read.
// Who writes definitions may not be one who may ask what the request asked, so
// nothing of the answer is in it: neither its body, nor headers, nor what was
// there instead of HTTP. Nor is the URL, which may have a password or a token.
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

// as gives the error of a type that is in another; nil: none is.
func as[E error](err error) error {
	if e, ok := errors.AsType[E](err); ok {
		return e
	}
	return nil
}

// redirectError is a redirect that is not followed.
type redirectError struct{ message string }

func (e *redirectError) Error() string { return e.message }
