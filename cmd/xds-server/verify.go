package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/oci"
	"wasmxds/module/signed"
	"wasmxds/printable"
)

const verifyHelp = `Check who signed a module in a registry, as serve would: by cosign's signatures and
sigstore's bundles, without asking anyone but the registry. What is printed is the
digest that the reference is at, and who signed it.

Exit code 0: it is signed by one of the keys, or by the identity. 1: it is not, or
can't be had.`

const verifyExample = `  xds-server verify oci://registry.example.com/filters/auth:v1 --key cosign.pub
  xds-server verify registry.example.com/filters/auth:v1 \
    --identity 'https://github.com/acme/auth/.github/workflows/*' \
    --issuer https://token.actions.githubusercontent.com --root trusted_root.json`

type verifyFlags struct {
	by      signerFlags
	timeout time.Duration
	output  string
	origins originFlags
}

// signerFlags say by whom modules must be signed.
type signerFlags struct {
	keys                   []string
	identity, issuer, root string
}

// signed is what they say; nil: nothing.
func (f *signerFlags) signed() (*definition.Signed, error) {
	switch {
	case len(f.keys) == 0 && f.identity == "" && f.issuer == "" && f.root == "":
		return nil, nil
	case len(f.keys) > 0 && f.identity != "":
		return nil, errors.New("a key and an identity can't be together")
	case len(f.keys) == 0 && (f.identity == "" || f.issuer == "" || f.root == ""):
		return nil, errors.New("an identity needs an issuer and a root, and they need it")
	}
	by := &definition.Signed{Identity: f.identity, Issuer: f.issuer}
	if f.root != "" {
		by.Root = definition.FileURL(f.root)
	}
	for _, key := range f.keys {
		by.Keys = append(by.Keys, definition.FileURL(key))
	}
	return by, nil
}

func newVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:     "verify REFERENCE",
		Short:   "Check who signed a module in a registry",
		Long:    verifyHelp,
		Example: verifyExample,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.by.keys, "key", nil, "`file` of a public key, as cosign.pub; may be given again: one of them must have signed")
	flags.StringVar(&f.by.identity, "identity", "", "`who` must have signed, as certificates say it; * stands for anything")
	flags.StringVar(&f.by.issuer, "issuer", "", "`URL` of the OIDC issuer that has told of the identity")
	flags.StringVar(&f.by.root, "root", "", "`file` of Sigstore's trusted root: whom to trust; with --key: what is signed must be in a log of it")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "`time` that it may take")
	flags.StringVarP(&f.output, "output", "o", "text", "output `format`: text or json")
	completeValues(cmd, "output", "text", "json")
	f.origins.addRegistries(cmd)
	return cmd
}

func (f *verifyFlags) run(ctx context.Context, out io.Writer, reference string) error {
	if f.output != "text" && f.output != "json" {
		return misused(fmt.Errorf("--output %s: text or json", f.output))
	}
	by, err := f.by.signed()
	if err == nil && by == nil {
		err = errors.New("--key is needed, or --identity, --issuer and --root")
	}
	if err != nil {
		return misused(err)
	}
	if !strings.HasPrefix(reference, "oci://") {
		reference = "oci://" + reference
	}
	policy, err := f.origins.checked()
	if err != nil {
		return misused(err)
	}
	must, err := signed.Policy{}.Of(reference, by)
	if err != nil {
		return wrong(err)
	}
	registries := oci.New(oci.Options{Policy: policy, PlainHTTP: f.origins.plainHTTP})
	defer registries.Close()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	digest, who, err := registries.Verify(ctx, module.Request{URL: reference, Signed: must})
	if err != nil {
		return wrong(err)
	}
	if f.output == "json" {
		return printJSON(out, map[string]string{"reference": reference, "digest": digest, "signer": who})
	}
	fmt.Fprintf(out, "%s is signed by %s\n", printable.Text(digest), printable.Text(who))
	return nil
}
