package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"wasmxds/certs"
	"wasmxds/etcdconn"
	"wasmxds/source/etcd"
)

const etcdHelp = `With --etcd definitions come from etcd, with or without a directory beside it: each
key --etcd-prefix definitions/NAME is a document, as a file is in a directory, but
for modules, which need a URL. "xds-server apply" writes them. While etcd is away,
also while xds-server starts, what was known of it goes on.`

// etcdFlags say where etcd is.
type etcdFlags struct {
	endpoints      []string
	prefix         string
	tls            certs.Files
	user, password string
}

func (f *etcdFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.endpoints, "etcd", nil, "`endpoints` of etcd that definitions come from: host:port or URLs of all members")
	flags.StringVar(&f.prefix, "etcd-prefix", "/wasmxds/", "`prefix` of the keys in etcd that are xds-server's")
	flags.StringVar(&f.tls.CA, "etcd-ca", "", "`file` of the authorities that etcd's certificates must be from (default the system's)")
	flags.StringVar(&f.tls.Cert, "etcd-cert", "", "`file` of the certificate to show to etcd")
	flags.StringVar(&f.tls.Key, "etcd-key", "", "`file` of its key")
	flags.StringVar(&f.user, "etcd-user", "", "`name` of the user of etcd")
	flags.StringVar(&f.password, "etcd-password-file", "", "`file` that has the user's password")
	completeFiles(cmd, "etcd-ca", "etcd-cert", "etcd-key", "etcd-password-file")
}

// used says whether there is an etcd.
func (f *etcdFlags) used() bool { return len(f.endpoints) > 0 }

// options are how to connect.
func (f *etcdFlags) options(log *slog.Logger) *etcdconn.Options {
	return &etcdconn.Options{Endpoints: f.endpoints, TLS: f.tls, User: f.user, Password: f.password, Log: log}
}

// check wants flags to go together, and files to be good.
func (f *etcdFlags) check() error {
	switch given := f.tls.CA + f.tls.Cert + f.tls.Key + f.user + f.password; {
	case !f.used() && given != "":
		return errors.New("--etcd-ca, --etcd-cert, --etcd-key, --etcd-user and --etcd-password-file need --etcd")
	case !f.used():
		return nil
	case strings.Trim(f.prefix, "/") == "":
		return fmt.Errorf("--etcd-prefix %q: needs a name, as /wasmxds/", f.prefix)
	}
	f.prefix = strings.TrimRight(f.prefix, "/") + "/"
	return f.options(slog.Default()).Check()
}

// source finds definitions in etcd.
func (f *etcdFlags) source(log *slog.Logger) *etcd.Prefix {
	return &etcd.Prefix{Dial: f.options(log).Dial, Prefix: f.prefix, Log: log}
}
