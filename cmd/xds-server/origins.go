package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wasmxds/files"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/module/oci"
	"wasmxds/module/signed"
	"wasmxds/state"
)

// originFlags say where modules may come from, and how they are got.
type originFlags struct {
	policy    module.Policy
	ca        string
	plainHTTP []string
	secrets   string
	trialEnv  []string
	roots     []string // besides those of the definitions
	tlsRoots  []string // so, for certificates of listeners
	mustSign  []string
	by        signerFlags
	// elsewhere gives pull secrets that are not below secrets; nil: nobody does.
	elsewhere func(ctx context.Context, name string) ([]byte, error)
}

func (f *originFlags) add(cmd *cobra.Command) {
	f.addRegistries(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.policy.Schemes, "module-schemes", nil, "`schemes` of URLs that modules may come from: file, http, https, oci (default all)")
	flags.StringVar(&f.secrets, "pull-secrets", "", "`directory` of the pull secrets that definitions name; they can name no others, but Secrets with --kubernetes")
	flags.StringSliceVar(&f.roots, "module-root", nil, "`directory` that module files, and links to definitions, may be in besides the definitions' own; may be given again")
	flags.StringSliceVar(&f.tlsRoots, "tls-root", nil, "`directory` that certificates and keys of listeners may be in besides the definitions' own; may be given again")
	flags.StringSliceVar(&f.trialEnv, "trial-env", nil, "`names` of this program's environment variables that a module may see while it is tried, where its hostEnv has them (default none)")
	flags.StringSliceVar(&f.mustSign, "require-signed", nil, "`URLs` of modules that must be signed, where * stands for anything: '*' for all. By whom is said by --signing-keys or --signing-identity, else by definitions")
	flags.StringSliceVar(&f.by.keys, "signing-keys", nil, "`files` of public keys, one of which must have signed what --require-signed is for")
	flags.StringVar(&f.by.identity, "signing-identity", "", "`who` must have signed that, as certificates say it; * stands for anything")
	flags.StringVar(&f.by.issuer, "signing-issuer", "", "`URL` of the OIDC issuer that has told of the identity")
	flags.StringVar(&f.by.root, "signing-root", "", "`file` of Sigstore's trusted root; with --signing-keys: what is signed must be in a log of it")
	completeValues(cmd, "module-schemes", "file", "http", "https", "oci")
	completeDir(cmd, "pull-secrets")
	completeDir(cmd, "module-root")
	completeDir(cmd, "tls-root")
}

// addRegistries adds what is about those alone.
func (f *originFlags) addRegistries(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.policy.Hosts, "module-hosts", nil, "`hosts` that modules may come from: names, *.names, addresses or prefixes, each also with a port (default all)")
	flags.BoolVar(&f.policy.LinkLocal, "module-link-local", false, "let modules come from link-local, metadata, shared and reserved addresses, too")
	flags.StringVar(&f.ca, "module-ca", "", "`file` of the authorities that certificates of https and oci origins, and of judges, must be from (default the system's)")
	flags.StringSliceVar(&f.plainHTTP, "plain-http-registries", nil, "`registries` that are reached without TLS")
}

// checked is the policy that the flags give.
func (f *originFlags) checked() (module.Policy, error) {
	policy := f.policy
	if err := policy.Validate(); err != nil {
		return module.Policy{}, err
	}
	if f.ca != "" {
		pem, err := readLimited(f.ca)
		if err != nil {
			return module.Policy{}, fmt.Errorf("read --module-ca: %w", err)
		}
		policy.RootCAs = x509.NewCertPool()
		if !policy.RootCAs.AppendCertsFromPEM(pem) {
			return module.Policy{}, fmt.Errorf("--module-ca %s has no certificate in PEM", f.ca)
		}
	}
	return policy, nil
}

// signatures are by whom modules must be signed. What the flags name is read at once, to
// tell what is wrong with it.
func (f *originFlags) signatures(roots *files.Roots) (module.Signatures, error) {
	by, err := f.by.signed()
	if err != nil {
		return nil, fmt.Errorf("--signing-keys, --signing-identity: %w", err)
	}
	if by != nil && len(f.mustSign) == 0 {
		return nil, errors.New("--signing-keys and --signing-identity need --require-signed")
	}
	policy := signed.Policy{Required: f.mustSign, By: by, Roots: roots}
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	return policy, nil
}

// options are how modules of the definitions in some folders are fetched and
// tried, by every command that does so. kept keeps what is known of modules, own what
// of that is about this machine; nil: it is forgotten. The function ends what was
// started for it.
func (f *originFlags) options(ctx context.Context, store *module.Store, definitions []string, kept, own *state.Writer, log *slog.Logger) (module.Options, func(), error) {
	policy, err := f.checked()
	if err != nil {
		return module.Options{}, nil, err
	}
	roots, err := files.NewRoots(slices.Concat(definitions, f.roots)...)
	if err != nil {
		return module.Options{}, nil, fmt.Errorf("find --module-root: %w", err)
	}
	policy.Roots = &roots
	signatures, err := f.signatures(&roots)
	if err != nil {
		return module.Options{}, nil, err
	}
	for _, name := range f.trialEnv {
		if strings.Contains(name, "=") {
			return module.Options{}, nil, fmt.Errorf("--trial-env %s: a name of a variable has no =", name)
		}
	}
	command, err := trialCommand()
	if err != nil {
		return module.Options{}, nil, err
	}
	runner := dryrun.New(ctx, dryrun.Options{Store: store, Command: command, State: own, Logger: log, HostEnv: f.trialEnv})
	web := policy.NewHTTP()
	registries := oci.New(oci.Options{Policy: policy, PlainHTTP: f.plainHTTP, Secrets: f.secrets, Elsewhere: f.elsewhere})
	options := module.Options{
		Store:    store,
		State:    kept,
		Own:      own,
		Fetchers: map[string]module.Fetcher{"http": web, "https": web, "oci": registries},
		Policy:   policy,
		Runner:   runner,
		Logger:   log,

		Signatures: signatures,
	}
	return options, func() {
		web.Close()
		registries.Close()
		runner.Close()
	}, nil
}
