package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/pflag"

	"wasmxds/admin"
	"wasmxds/certs"
	"wasmxds/printable"
)

// adminFlags say where a running xds-server is, and what to show there.
type adminFlags struct {
	admin string
	files certs.Files
	token string
}

func (f *adminFlags) add(flags *pflag.FlagSet, token string) {
	flags.StringVar(&f.admin, "admin", "http://127.0.0.1:19000", "`URL` of xds-server's admin address")
	flags.StringVar(&f.files.CA, "admin-ca", "", "CA bundle `file` for verifying the certificate of an https --admin (default the system's)")
	flags.StringVar(&f.files.Cert, "admin-cert", "", "client certificate `file` for the admin address")
	flags.StringVar(&f.files.Key, "admin-key", "", "private key `file` of --admin-cert")
	flags.StringVar(&f.token, "admin-token-file", "", token)
}

// client asks the admin address. Its errors have an exit code.
func (f *adminFlags) client(timeout time.Duration) (*admin.Client, error) {
	if err := adminURL(f.admin); err != nil {
		return nil, err
	}
	config, err := certs.Client(f.files)
	if err != nil {
		return nil, wrong(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	client := &http.Client{Transport: transport, Timeout: timeout}
	if f.token != "" {
		client.Transport = &admin.Bearer{File: f.token, Next: transport}
	}
	return &admin.Client{URL: f.admin, HTTP: client}, nil
}

// asked is an error of asking, with its exit code: what xds-server refuses as it
// does not fit what there is, is the input's fault.
func asked(err error) error {
	var e *exitError
	if err == nil || errors.As(err, &e) {
		return err
	}
	var r *admin.Refused
	if errors.As(err, &r) && (r.Code == http.StatusNotFound || r.Code == http.StatusConflict || r.Code == http.StatusBadRequest) {
		return wrong(withHint(err, askHint(err)))
	}
	return unreachable(withHint(err, askHint(err)))
}

// follow shows what show writes whenever it is not what it was, until show says
// that it is the end, or ctx ends. On a terminal each takes the place of the one
// before, if it is for people. Only an error at first is one.
func follow(ctx context.Context, out io.Writer, people bool, show func(io.Writer) (end bool, err error)) error {
	terminal := out
	if w, ok := out.(*printable.Writer); ok {
		terminal = w.Out
	}
	screen := people && isTerminal(terminal)
	var shown []byte
	for {
		var now bytes.Buffer
		end, err := show(&now)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && shown == nil:
			return asked(err)
		case err != nil:
			now.Reset()
			fmt.Fprintf(&now, "%v; trying again\n", err)
		}
		if !bytes.Equal(now.Bytes(), shown) {
			if screen {
				io.WriteString(terminal, "\x1b[H\x1b[2J")
			} else if shown != nil && people {
				io.WriteString(out, "\n")
			}
			out.Write(now.Bytes())
			shown = now.Bytes()
		}
		if end {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func printJSON(out io.Writer, document any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document)
}

// printAs prints a document as JSON, or as YAML with the same names.
func printAs(out io.Writer, format string, document any) error {
	if format == "json" {
		return printJSON(out, document)
	}
	doc, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return printYAML(out, doc)
}
