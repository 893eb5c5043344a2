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

const etcdHelp = `etcd: with --etcd, definitions come from etcd, with or without a directory in
addition. Each key --etcd-prefix definitions/NAME is one document, equivalent to a
file in a directory, except that modules need a URL. "xds-server apply" writes them.
While etcd is unavailable, even while xds-server starts, the last known definitions
stay in force.`

// etcdFlags say where etcd is.
type etcdFlags struct {
	endpoints      []string
	prefix         string
	tls            certs.Files
	user, password string
}

func (f *etcdFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.endpoints, "etcd", nil, "etcd `endpoints` to read definitions from: host:port or URL of each member, comma-separated")
	flags.StringVar(&f.prefix, "etcd-prefix", "/wasmxds/", "`prefix` of all keys of xds-server in etcd")
	flags.StringVar(&f.tls.CA, "etcd-ca", "", "CA bundle `file` for verifying etcd's certificates (default the system's)")
	flags.StringVar(&f.tls.Cert, "etcd-cert", "", "client certificate `file` for etcd")
	flags.StringVar(&f.tls.Key, "etcd-key", "", "private key `file` of --etcd-cert")
	flags.StringVar(&f.user, "etcd-user", "", "etcd user `name`")
	flags.StringVar(&f.password, "etcd-password-file", "", "`file` with the password of --etcd-user")
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
		return errors.New("--etcd-ca, --etcd-cert, --etcd-key, --etcd-user and --etcd-password-file require --etcd")
	case !f.used():
		return nil
	case strings.Trim(f.prefix, "/") == "":
		return fmt.Errorf("--etcd-prefix %q: must contain a name, like /wasmxds/", f.prefix)
	}
	f.prefix = strings.TrimRight(f.prefix, "/") + "/"
	return f.options(slog.Default()).Check()
}

// source finds definitions in etcd.
func (f *etcdFlags) source(log *slog.Logger) *etcd.Prefix {
	return &etcd.Prefix{Dial: f.options(log).Dial, Prefix: f.prefix, Log: log}
}
