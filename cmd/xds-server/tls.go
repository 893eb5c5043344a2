package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/admin"
	"wasmxds/certs"
	"wasmxds/definition"
	"wasmxds/identity/admission"
)

const secureHelp = `TLS: with --tls-cert and --tls-key, ADS and modules are served over TLS. With
--tls-client-ca, clients need a certificate from that authority, and --policy maps
certificates to the nodes that they may be. Addresses other than loopback require TLS,
or --insecure if the network itself is protected. The admin address has its own flags;
away from loopback it also requires a token or client certificates. All of these files
can change at any time. Streams stay open, except those that a new policy no longer
allows.

Operators: reading does not include changing. The commands of "xds-server rollout"
that change something need the token in --operate-token-file, even on loopback, or a
certificate from --admin-tls-client-ca that the policy lists under operators. Without
either, nothing can be changed at the admin address. The token of operators also
allows reading.`

// secureFlags say who may connect, and how.
type secureFlags struct {
	ads, admin               certs.Files // ads: of modules as well
	token, operate, policy   string
	streams, identityStreams int
	connections              int
	insecure                 bool
}

func (f *secureFlags) add(cmd *cobra.Command) {
	cmd.Long += "\n\n" + secureHelp
	flags := cmd.Flags()
	flags.StringVar(&f.ads.Cert, "tls-cert", "", "server certificate `file` for ADS and modules, including intermediates")
	flags.StringVar(&f.ads.Key, "tls-key", "", "private key `file` of --tls-cert")
	flags.StringVar(&f.ads.CA, "tls-client-ca", "", "CA bundle `file` for verifying Envoys' client certificates")
	flags.StringVar(&f.policy, "policy", "", "policy `file` that maps client certificates to the nodes they may be")
	flags.StringVar(&f.admin.Cert, "admin-tls-cert", "", "server certificate `file` for the admin address")
	flags.StringVar(&f.admin.Key, "admin-tls-key", "", "private key `file` of --admin-tls-cert")
	flags.StringVar(&f.admin.CA, "admin-tls-client-ca", "", "CA bundle `file` for verifying client certificates on the admin address")
	flags.StringVar(&f.token, "admin-token-file", "", "`file` with the token that the admin address requires, except for /healthz and /readyz")
	flags.StringVar(&f.operate, "operate-token-file", "", "`file` with the token of operators, who may pause, resume, promote, stop and roll back changes (default nobody may)")
	flags.IntVar(&f.streams, "max-streams", 1<<16, "maximum `number` of concurrent streams")
	flags.IntVar(&f.identityStreams, "max-streams-per-identity", 1<<12, "maximum `number` of concurrent streams per client identity")
	flags.IntVar(&f.connections, "max-connections", 0, "maximum `number` of connections to the ADS address (default half of the process's open-file limit)")
	flags.BoolVar(&f.insecure, "insecure", false, "allow addresses other than loopback without TLS")
	completeFiles(cmd, "tls-cert", "tls-key", "tls-client-ca", "policy", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca", "admin-token-file", "operate-token-file")
}

// check wants flags to go together.
func (f *secureFlags) check(modulesURL string) error {
	for _, g := range []struct {
		prefix string
		certs.Files
	}{{"--tls-", f.ads}, {"--admin-tls-", f.admin}} {
		switch {
		case (g.Cert == "") != (g.Key == ""):
			return fmt.Errorf("%scert and %skey must be set together", g.prefix, g.prefix)
		case g.CA != "" && g.Cert == "":
			return fmt.Errorf("%sclient-ca requires %scert and %skey: client certificates need TLS", g.prefix, g.prefix, g.prefix)
		}
	}
	switch {
	case f.policy != "" && f.ads.CA == "":
		return errors.New("--policy requires --tls-client-ca: it maps client certificates to nodes")
	case f.ads.Cert != "" && modulesURL != "" && !strings.HasPrefix(modulesURL, "https:"):
		return fmt.Errorf("--modules-url %s: must begin with https: because --tls-cert is set", modulesURL)
	case modulesURL != "" && !isHTTP(modulesURL):
		return fmt.Errorf("--modules-url %s: is not a URL like http://10.0.0.5:18001", modulesURL)
	case f.connections < 0:
		return errors.New("--max-connections must be at least 1, or 0 for the default")
	case f.streams < 1 || f.identityStreams < 1:
		return errors.New("--max-streams and --max-streams-per-identity must be at least 1")
	}
	return nil
}

// checkOpen wants TLS where others can connect. No more than that can be
// checked: certificates of clients and a policy are for whoever runs the
// network to ask for.
func (f *secureFlags) checkOpen(ls *listeners) error {
	if f.insecure {
		return nil
	}
	for _, l := range []struct {
		flag string
		net.Listener
	}{{"--xds-listen", ls.xds}, {"--modules-listen", ls.modules}} {
		if f.ads.Cert == "" && !isLoopback(l.Listener) {
			return fmt.Errorf("%s %v: other machines can connect there without authentication; "+
				"set --tls-cert, --tls-key and --tls-client-ca (xds-server certs creates some for trying it), "+
				"or --insecure if everyone in the network may read all filters and listeners", l.flag, l.Addr())
		}
	}
	switch {
	case !isLoopback(ls.admin) && f.operate != "" && f.admin.Cert == "":
		return fmt.Errorf("--admin-listen %v: the token of --operate-token-file would be sent unencrypted; set --admin-tls-cert and --admin-tls-key, or --insecure", ls.admin.Addr())
	case isLoopback(ls.admin) || f.admin.CA != "" || f.token != "" && f.admin.Cert != "":
		return nil
	case f.token != "":
		return fmt.Errorf("--admin-listen %v: the token of --admin-token-file would be sent unencrypted; set --admin-tls-cert and --admin-tls-key, or --insecure", ls.admin.Addr())
	}
	return fmt.Errorf("--admin-listen %v: other machines can read it; set --admin-tls-cert and --admin-tls-key with --admin-token-file or --admin-tls-client-ca, "+
		"or --insecure if everyone in the network may", ls.admin.Addr())
}

func isLoopback(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// guard keeps to the secureFlags, and to what is in their files now.
type guard struct {
	ads, admin *certs.Store // nil: no TLS
	admission  *admission.Admission
	token      *admin.Token // nil: none is asked for
	operators  admin.Operators
	files      []guardedFile
	others     func() []definition.Problem // that are told with its own; nil: none
	log        *slog.Logger
}

// guardedFile is the certificate or policy in a file.
type guardedFile struct {
	name  string
	store *certs.Store
}

// open reads the files, which must be good.
func (f *secureFlags) open(log *slog.Logger) (*guard, error) {
	g := &guard{log: log}
	for _, s := range []struct {
		files certs.Files
		to    **certs.Store
	}{{f.ads, &g.ads}, {f.admin, &g.admin}} {
		if s.files.Cert == "" {
			continue
		}
		store, err := certs.Load(s.files, log)
		if err != nil {
			return nil, err
		}
		*s.to = store
		g.files = append(g.files, guardedFile{s.files.Cert, store})
	}
	var err error
	if f.token != "" {
		if g.token, err = admin.NewToken(f.token, log); err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
	}
	g.admission, err = admission.New(admission.Options{
		Policy: f.policy, Streams: f.streams, PerIdentity: f.identityStreams, Log: log,
	})
	if err != nil {
		return nil, err
	}
	g.operators, err = f.operators(g, log)
	return g, err
}

// operators are who may change something at the admin address.
func (f *secureFlags) operators(g *guard, log *slog.Logger) (admin.Operators, error) {
	o := admin.Operators{Reading: g.token, Log: log}
	if f.policy != "" && f.admin.CA != "" {
		o.Certificate = g.admission.Operator
	}
	if f.operate == "" {
		return o, nil
	}
	var err error
	if o.Token, err = admin.NewToken(f.operate, log); err != nil {
		return o, fmt.Errorf("--operate-token-file: %w", err)
	}
	return o, nil
}

// warn tells of what is allowed but seldom meant.
func (g *guard) warn(f *secureFlags, ls *listeners) {
	switch {
	case isLoopback(ls.xds):
	case f.ads.CA == "":
		g.log.Warn("everyone who reaches the ADS address may be any node: there is no --tls-client-ca", "address", ls.xds.Addr())
	case f.policy == "":
		g.log.Warn("everyone with a certificate may be any node: there is no --policy", "address", ls.xds.Addr())
	}
}

// overTLS is a listener that speaks TLS if there is a store.
func overTLS(l net.Listener, store *certs.Store) net.Listener {
	if store == nil {
		return l
	}
	return tls.NewListener(l, store.Server("http/1.1"))
}

// scheme is that of URLs at a listener.
func scheme(store *certs.Store) string {
	if store == nil {
		return "http"
	}
	return "https"
}

// adminHandler is what the admin address serves to whom it may.
func (g *guard) adminHandler(l net.Listener, h http.Handler) http.Handler {
	switch {
	case g.token != nil:
		return g.token.Ask(h, g.operators.Token)
	case g.admin == nil && isLoopback(l): // by TLS, the name is the certificate's
		return admin.Local(h)
	}
	return h
}

// reloadInterval is how long a changed certificate or policy may go unnoticed.
const reloadInterval = time.Second

// run takes in files as they change, until ctx ends. changed is told of what
// is wrong with them, now and whenever that changes.
func (g *guard) run(ctx context.Context, changed chan<- []definition.Problem) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	var told []definition.Problem
	for {
		if now := g.problems(time.Now()); !slices.Equal(now, told) {
			select {
			case changed <- now:
			case <-ctx.Done():
				return
			}
			told = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.reload()
		}
	}
}

// expiries are when the certificates of the listeners end, by file.
func (g *guard) expiries() map[string]time.Time {
	all := make(map[string]time.Time, len(g.files))
	for _, f := range g.files {
		all[f.name] = f.store.Status().NotAfter
	}
	return all
}

// reload looks at the files now. Those that are wrong change nothing.
func (g *guard) reload() {
	for _, f := range g.files {
		f.store.Reload()
	}
	g.admission.Reload()
}

// problems are what is wrong with the files that are there.
func (g *guard) problems(now time.Time) []definition.Problem {
	all := g.admission.Problems()
	for _, f := range g.files {
		switch st := f.store.Status(); {
		case st.Err != nil:
			all = append(all, definition.Problem{File: f.name, Message: st.Err.Error(),
				Hint: "the certificate from before stays in use, until " + st.NotAfter.Format(time.RFC3339)})
		case now.After(st.NotAfter):
			all = append(all, definition.Problem{File: f.name, Message: "the certificate ended at " + st.NotAfter.Format(time.RFC3339),
				Hint: "nobody can connect until there is a new one; streams that are open go on"})
		case now.After(st.Soon):
			all = append(all, definition.Problem{File: f.name, Warning: true, Message: "the certificate ends at " + st.NotAfter.Format(time.RFC3339),
				Hint: "nobody can connect after that; renew it: new files are noticed without a restart"})
		}
	}
	if g.others != nil {
		all = append(all, g.others()...)
	}
	return all
}
