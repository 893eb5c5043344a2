// Package etcdconn connects to etcd, for whatever keeps something there.
//
// Start with [Options] and its Dial, which gives a client. Files of TLS are read
// again for each connection, and that of the password for each client. What
// the client has to say goes to the log at level debug: who uses it knows
// better what is worth a line.
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

// Options say where etcd is, and as whom to connect.
type Options struct {
	Endpoints []string    // host:port, or URLs of the scheme http or https
	TLS       certs.Files // all may be empty; a certificate is shown where there is one, and without CA the system's authorities are trusted
	User      string      // "": none
	Password  string      // file that has it
	Log       *slog.Logger
}

// dialTimeout is how long a connection, and then a user's password, may take.
const dialTimeout = 5 * time.Second

// maxPassword is how many bytes the password's file may have.
const maxPassword = 4096

// Check says what is wrong with the options, or with files as they are now.
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

// secure says whether TLS is spoken.
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

// Dial gives a client, which is to be closed. Only a user's password is taken
// to etcd before it returns, and may be refused; all else fails when the client
// is used. The client ends with ctx.
func (o *Options) Dial(ctx context.Context) (*clientv3.Client, error) {
	password, err := o.password()
	if err != nil {
		return nil, err
	}
	log := cmp.Or(o.Log, slog.Default())
	config := clientv3.Config{
		Context: ctx, Endpoints: o.Endpoints, Username: o.User, Password: password,
		DialTimeout: dialTimeout,
		// A member that is there but does not answer is left after ten seconds; to
		// ask more often than every five etcd takes for an attack.
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
