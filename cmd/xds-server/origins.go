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
	"wasmxds/try"
)

// originFlags say where modules may come from, and how they are got.
type originFlags struct {
	policy    module.Policy
	ca        string
	plainHTTP []string
	secrets   string
	trialEnv  []string
	roots     paths // besides those of the definitions
	tlsRoots  paths // so, for certificates of listeners
	mustSign  []string
	by        signerFlags
	// elsewhere gives pull secrets that are not below secrets; nil: nobody does.
	elsewhere func(ctx context.Context, name string) ([]byte, error)
}

func (f *originFlags) add(cmd *cobra.Command) {
	f.addRegistries(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.policy.Schemes, "module-schemes", nil, "URL `schemes` that modules may use: file, http, https, oci; comma-separated (default all)")
	flags.StringVar(&f.secrets, "pull-secrets", "", "`directory` of the pull secrets that definitions may name (Kubernetes objects may also name Secrets)")
	flags.Var(&f.roots, "module-root", "additional `directory` that module files may be read from; repeatable")
	flags.Var(&f.tlsRoots, "tls-root", "additional `directory` that listeners' certificates and keys may be read from; repeatable")
	flags.StringSliceVar(&f.trialEnv, "trial-env", nil, "`names` of environment variables of this process that hostEnv may pass to a module in its trial run; comma-separated (default none)")
	flags.StringSliceVar(&f.mustSign, "require-signed", nil, "`URLs` of modules that must be signed; * is a wildcard, '*' means all modules; comma-separated. The signer is set by --signing-keys or --signing-identity, or else by each definition")
	flags.Var(&f.by.keys, "signing-keys", "public key `file`; modules that --require-signed matches must be signed by one of them; repeatable")
	flags.StringVar(&f.by.identity, "signing-identity", "", "required `identity` of the signer, as in its certificate; * is a wildcard")
	flags.StringVar(&f.by.issuer, "signing-issuer", "", "`URL` of the OIDC issuer that vouched for the identity")
	flags.StringVar(&f.by.root, "signing-root", "", "Sigstore trusted root `file`; with --signing-keys, signatures must also be in a transparency log of it")
	completeValues(cmd, "module-schemes", "file", "http", "https", "oci")
	completeDir(cmd, "pull-secrets")
	completeDir(cmd, "module-root")
	completeDir(cmd, "tls-root")
}

// addRegistries adds what is about those alone.
func (f *originFlags) addRegistries(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.policy.Hosts, "module-hosts", nil, "`hosts` that modules may come from: host names, *.domains, IP addresses or CIDR prefixes, optionally with a port; comma-separated (default all)")
	flags.BoolVar(&f.policy.LinkLocal, "module-link-local", false, "allow modules from link-local, cloud metadata, shared and reserved addresses")
	flags.StringVar(&f.ca, "module-ca", "", "CA bundle `file` for verifying https and oci origins and the servers that rollouts ask (default the system's)")
	flags.StringSliceVar(&f.plainHTTP, "plain-http-registries", nil, "`registries` to reach over plain HTTP; comma-separated")
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
			return module.Policy{}, fmt.Errorf("--module-ca %s contains no PEM certificate", f.ca)
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
		return nil, errors.New("--signing-keys and --signing-identity require --require-signed")
	}
	policy := signed.Policy{Required: f.mustSign, By: by, Roots: roots}
	if err := policy.Validate(); err != nil {
		return nil, err
	}
	return policy, nil
}

// profiles makes profiles of modules in the store. What runs modules for that runs
// nothing else, so that no change has to wait for a profile. The function ends it.
func (f *originFlags) profiles(ctx context.Context, store *module.Store, log *slog.Logger) (*try.Profiles, func(), error) {
	command, err := trialCommand()
	if err != nil {
		return nil, nil, err
	}
	runner := dryrun.New(ctx, dryrun.Options{Store: store, Command: command, Logger: log, HostEnv: f.trialEnv, AtOnce: 1})
	return try.NewProfiles(runner), runner.Close, nil
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
			return module.Options{}, nil, fmt.Errorf("--trial-env %s: must be the name of a variable, without =", name)
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
		Tester:   try.NewTests(runner),
		Logger:   log,

		Signatures: signatures,
	}
	return options, func() {
		web.Close()
		registries.Close()
		runner.Close()
	}, nil
}
