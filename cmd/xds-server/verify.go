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

const verifyHelp = `Check who signed a module in a registry, as serve does: by cosign signatures and
Sigstore bundles, contacting only the registry. Prints the digest of the reference and
its signer.

Exit code 0: signed by one of the keys or by the identity. 1: not signed by them, or
not available.`

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
	keys                   paths
	identity, issuer, root string
}

// signed is what they say; nil: nothing.
func (f *signerFlags) signed() (*definition.Signed, error) {
	switch {
	case len(f.keys) == 0 && f.identity == "" && f.issuer == "" && f.root == "":
		return nil, nil
	case len(f.keys) > 0 && f.identity != "":
		return nil, errors.New("--key can't be combined with --identity")
	case len(f.keys) == 0 && (f.identity == "" || f.issuer == "" || f.root == ""):
		return nil, errors.New("--identity, --issuer and --root must be set together")
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
		Short:   "Check the signature of a module in a registry",
		Long:    verifyHelp,
		Example: verifyExample,
		Args:    positional(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.Var(&f.by.keys, "key", "public key `file`, such as cosign.pub; repeatable, one of them must have signed")
	flags.StringVar(&f.by.identity, "identity", "", "required `identity` of the signer, as in its certificate; * is a wildcard")
	flags.StringVar(&f.by.issuer, "issuer", "", "`URL` of the OIDC issuer that vouched for the identity")
	flags.StringVar(&f.by.root, "root", "", "Sigstore trusted root `file`; with --key, signatures must also be in a transparency log of it")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "give up after this `time`")
	flags.StringVarP(&f.output, "output", "o", "text", "output `format`: text or json")
	completeValues(cmd, "output", "text", "json")
	f.origins.addRegistries(cmd)
	return cmd
}

func (f *verifyFlags) run(ctx context.Context, out io.Writer, reference string) error {
	if f.output != "text" && f.output != "json" {
		return misused(fmt.Errorf("--output %s: must be text or json", f.output))
	}
	by, err := f.by.signed()
	if err == nil && by == nil {
		err = errors.New("--key, or --identity with --issuer and --root, is required")
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
