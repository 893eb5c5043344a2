// Package definitiontest tests kinds of definitions with the files in the
// testdata of their package: valid ones with what is read from them and what
// they are converted to, and invalid ones with the messages that users get.
package definitiontest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"wasmxds/definition"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Golden compares got with a file or, with -update, writes the file.
func Golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it anew); now it is\n%s", name, got)
	}
}

// cases returns the definition files in a folder below testdata.
func cases(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	for _, form := range []string{"*.yaml", "*.json"} {
		found, err := filepath.Glob(filepath.Join("testdata", folder, form))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		t.Fatalf("no cases in %s", folder)
	}
	return names
}

func parseFile(t *testing.T, p definition.Parser, name string) (*definition.File, []definition.Problem) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p.Parse(filepath.ToSlash(name), data)
}

// Bad checks the problems of each file in testdata/bad.
func Bad(t *testing.T, p definition.Parser) {
	t.Helper()
	for _, name := range cases(t, "bad") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, problems := parseFile(t, p, name)
			if file != nil {
				t.Error("a file in spite of problems")
			}
			Golden(t, name+".txt", []byte(Told(problems)))
		})
	}
}

// Good checks what is read from each file in testdata/good.
func Good(t *testing.T, p definition.Parser) {
	t.Helper()
	for _, name := range cases(t, "good") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, problems := parseFile(t, p, name)
			if file == nil {
				t.Fatal(Told(problems))
			}
			Golden(t, name+".txt", []byte(Told(problems)+dump(file)))
		})
	}
}

// Told formats problems as users see them.
func Told(problems []definition.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		if p.Warning {
			b.WriteString("warning: ")
		}
		fmt.Fprintln(&b, p.Error())
		if p.Hint != "" {
			fmt.Fprintf(&b, "    hint: %s\n", p.Hint)
		}
	}
	return b.String()
}

// dump formats all definitions of a file.
func dump(f *definition.File) string {
	var b strings.Builder
	for _, d := range f.Filters {
		fmt.Fprintf(&b, "%s filter %q of kind %s\n", where(d.Pos), d.Name, d.Kind)
		if d.Lua != nil {
			fmt.Fprintf(&b, "  script %q of %q, order %d place {At:%s Before:%s After:%s} onFailure %s\n", d.Lua.Script, d.Module.URL, d.Order,
				d.Place.At, d.Place.Before, d.Place.After, d.OnFailure)
			dumpAttach(&b, d.Attach)
			continue
		}
		signed := d.Module.Signed
		fmt.Fprintf(&b, "  module {URL:%s SHA256:%s Fetch:%s Pull:%s PullSecret:%s}\n", d.Module.URL, d.Module.SHA256, d.Module.Fetch, d.Module.Pull, d.Module.PullSecret)
		if signed != nil {
			fmt.Fprintf(&b, "  signed %+v\n", *signed)
		}
		for _, m := range []struct {
			name string
			m    proto.Message
		}{{"config", d.Config}, {"vmConfig", d.VMConfig}} {
			if m.m.ProtoReflect().IsValid() {
				fmt.Fprintf(&b, "  %s %s\n", m.name, oneLine(m.m))
			}
		}
		fmt.Fprintf(&b, "  rootID %q vmID %q order %d %s {At:%s Before:%s After:%s} onFailure %s verify %s\n", d.RootID, d.VMID, d.Order,
			placeWord(d.Place), d.Place.At, d.Place.Before, d.Place.After, d.OnFailure, d.Verify)
		dumpAttach(&b, d.Attach)
		fmt.Fprintf(&b, "  env %v hostEnv %v allow %v\n", d.Env, d.HostEnv, d.Allow)
		if d.AllowComputed {
			fmt.Fprintf(&b, "  computed\n")
		}
		if d.Singleton {
			fmt.Fprintf(&b, "  singleton\n")
		}
		if d.Wasm != nil {
			fmt.Fprintf(&b, "  wasm %s\n", oneLine(d.Wasm))
		}
	}
	for _, d := range f.Listeners {
		fmt.Fprintf(&b, "%s listener %q at %s\n  nodes %+v\n  target %+v\n", where(d.Pos), d.Name, d.Address, d.Nodes, d.Target())
		if d.TLS != nil {
			fmt.Fprintf(&b, "  tls %+v\n", *d.TLS)
		}
		if d.AccessLog != definition.LogOff {
			fmt.Fprintf(&b, "  accessLog %s\n", d.AccessLog)
		}
		for _, r := range d.Routes {
			dumpRoute(&b, r)
		}
		if d.TCP != nil {
			fmt.Fprintf(&b, "  tcp %+v\n", *d.TCP)
		}
	}
	for _, d := range f.Resources {
		fmt.Fprintf(&b, "%s %s %q\n", where(d.Pos), d.TypeURL, d.Name)
		if target, ok := d.Target(); ok {
			fmt.Fprintf(&b, "  target %+v\n", target)
		}
		fmt.Fprintf(&b, "  %s\n", oneLine(d.Message))
	}
	for _, d := range f.Rollouts {
		fmt.Fprintf(&b, "%s rollout %q of %q, bake %v, then %s\n", where(d.Pos), d.Name, d.Definitions, d.Bake, d.Then)
		for _, w := range d.Waves {
			fmt.Fprintf(&b, "  wave %+v\n", w)
		}
		fmt.Fprintf(&b, "  stop %+v\n", d.Stop)
		for _, j := range d.Ask {
			if j.Prometheus != nil {
				fmt.Fprintf(&b, "  ask prometheus %+v\n", *j.Prometheus)
			}
			if j.Webhook != nil {
				fmt.Fprintf(&b, "  ask webhook %+v\n", *j.Webhook)
			}
		}
	}
	for _, d := range f.Tests {
		fmt.Fprintf(&b, "%s tests %q of %q\n", where(d.Pos), d.Name, d.Filter)
		for _, c := range d.Cases {
			dumpCase(&b, c)
		}
	}
	return b.String()
}

func dumpCase(b *strings.Builder, c definition.TestCase) {
	written, err := json.Marshal(c) // because it has pointers
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(b, "  %s\n", written)
}

// dumpRoute formats a route; rare fields are only shown if they are set.
func dumpRoute(b *strings.Builder, r definition.Route) {
	fmt.Fprintf(b, "  route {Prefix:%s Upstreams:[", r.Prefix)
	for i, u := range r.Upstreams {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(b, "{Address:%s Weight:%d TLS:%t", u.Address, u.Weight, u.TLS)
		if !u.Plain() {
			fmt.Fprintf(b, " Endpoints:%q Protocol:%s ServerName:%s", u.Endpoints, u.Protocol, u.ServerName)
		}
		if u.HealthCheck != nil {
			fmt.Fprintf(b, " HealthCheck:%+v", *u.HealthCheck)
		}
		b.WriteByte('}')
	}
	fmt.Fprintf(b, "] Timeout:%s}\n", r.Timeout)
	if r.Name != "" {
		fmt.Fprintf(b, "    name %q\n", r.Name)
	}
	for _, of := range r.Filters {
		fmt.Fprintf(b, "    filter %q variant %q config %s\n", of.Filter, of.Variant, oneLine(of.Config))
	}
	if len(r.Hosts)+len(r.Methods)+len(r.Headers)+len(r.Path)+len(r.Regex) > 0 {
		fmt.Fprintf(b, "    for hosts %q methods %q headers %+v path %q regex %q\n", r.Hosts, r.Methods, r.Headers, r.Path, r.Regex)
	}
	if r.Rewrite != "" {
		fmt.Fprintf(b, "    rewrite %q\n", r.Rewrite)
	}
	if r.Redirect != nil {
		fmt.Fprintf(b, "    redirect %+v\n", *r.Redirect)
	}
	if r.Retries != nil {
		fmt.Fprintf(b, "    retries %+v\n", *r.Retries)
	}
}

func placeWord(p definition.Place) string {
	if p.Network {
		return "network place"
	}
	return "place"
}

func dumpAttach(b *strings.Builder, a definition.Attach) {
	fmt.Fprintf(b, "  nodes %+v\n", a.Nodes)
	for _, m := range a.Listeners {
		fmt.Fprintf(b, "  listeners %+v\n", struct {
			Direction definition.Direction
			Names     []string
			Ports     []uint32
		}{m.Direction, m.Names, m.Ports})
		if len(m.Routes) > 0 {
			fmt.Fprintf(b, "  routes %q\n", m.Routes)
		}
	}
}

func where(p definition.Position) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// oneLine formats a message in its text form, whose whitespace is random by
// design.
func oneLine(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}
