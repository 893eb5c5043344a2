// Package etcdconn connects to etcd, for any package that stores something there.
//
// Start with [Options] and its Dial, which returns a client. TLS files are read again for
// each connection, and the password file for each client. Messages of the client are logged
// at level debug: its users know better what is worth logging.
package etcdconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"wasmxds/certs"
	"wasmxds/files"
)

// Options say where etcd is, and as which user to connect.
type Options struct {
	Endpoints []string    // host:port, or URLs with the scheme http or https
	TLS       certs.Files // all optional; without CA, the system's authorities are trusted
	User      string      // "": no user
	Password  string      // file that contains it
	Log       *slog.Logger
}

// dialTimeout is the timeout of a connection, and then of authentication.
const dialTimeout = 5 * time.Second

// maxPassword is the largest size of the password file, in bytes.
const maxPassword = 4096

// Check returns an error if the options, or the current files, are invalid.
func (o *Options) Check() error {
	if len(o.Endpoints) == 0 {
		return errors.New("etcd: no endpoint is given")
	}
	for _, e := range o.Endpoints {
		if err := o.checkEndpoint(e); err != nil {
			return fmt.Errorf("etcd: endpoint %s: %w", e, err)
		}
	}
	switch {
	case !o.secure() && o.TLS != certs.Files{}:
		return errors.New("etcd: files of TLS are given, but the endpoints are not https://")
	case (o.User == "") != (o.Password == ""):
		return errors.New("etcd: a user and the file of the password go together: give both, or neither")
	}
	if _, err := o.password(); err != nil {
		return err
	}
	if _, err := certs.Client(o.TLS); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

func (o *Options) checkEndpoint(e string) error {
	address := e
	if scheme, rest, ok := strings.Cut(e, "://"); ok {
		u, err := url.Parse(e)
		switch {
		case err != nil || u.User != nil || u.Path != "" || u.RawQuery != "":
			return errors.New("needs a scheme, a host and a port, no more")
		case scheme != "http" && scheme != "https":
			return fmt.Errorf("scheme %s: http or https", scheme)
		case (scheme == "https") != o.secure():
			return errors.New("either all endpoints are https://, or none")
		}
		address = rest
	} else if o.secure() {
		return errors.New("either all endpoints are https://, or none")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return errors.New("needs host:port, as in 127.0.0.1:2379")
	}
	if ip := net.ParseIP(host); o.User != "" && !o.secure() && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("the password of the user could be read on its way there: it needs https://")
	}
	return nil
}

// secure reports whether connections use TLS.
func (o *Options) secure() bool {
	return slices.ContainsFunc(o.Endpoints, func(e string) bool { return strings.HasPrefix(e, "https://") })
}

func (o *Options) password() (string, error) {
	if o.Password == "" {
		return "", nil
	}
	data, err := files.Read(o.Password, maxPassword)
	if err != nil {
		return "", fmt.Errorf("etcd: read the password: %w", err)
	}
	password := strings.TrimRight(string(data), "\r\n")
	if password == "" {
		return "", fmt.Errorf("etcd: %s has no password", o.Password)
	}
	return password, nil
}

// Dial returns a client, which the caller must close. Dial itself only authenticates a user
// with a password, which may fail; all other errors occur when the client is used. The
// client ends with ctx.
func (o *Options) Dial(ctx context.Context) (*clientv3.Client, error) {
	password, err := o.password()
	if err != nil {
		return nil, err
	}
	log := cmp.Or(o.Log, slog.Default())
	config := clientv3.Config{
		Context: ctx, Endpoints: o.Endpoints, Username: o.User, Password: password,
		DialTimeout: dialTimeout,
		// A member that does not answer is left after ten seconds. etcd takes keepalives at
		// intervals of less than five seconds for an attack.
		DialKeepAliveTime: 6 * time.Second, DialKeepAliveTimeout: 4 * time.Second, PermitWithoutStream: true,
		Logger: zap.New(core{log}),
	}
	if o.secure() {
		config.DialOptions = append(config.DialOptions, grpc.WithTransportCredentials(&credential{files: o.TLS, log: log}))
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, nil
}
