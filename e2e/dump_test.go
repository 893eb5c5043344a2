package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/e2e/wasmtest"
)

// TestDump: what an Envoy prints at /config_dump becomes, converted, the resources
// that were written, without what xds-server has made, and changes nothing where it
// takes their place. As it is, it is no definition, and harms none.
func TestDump(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		host, port, err := net.SplitHostPort(f.upstream.Address())
		must(t, err)
		resources := strings.NewReplacer("CONNECT", "1s", "HOST", host, "PORT", port, "ROUTES", "one").Replace(raw)
		hello := func(value string) string {
			return filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: value}))
		}
		f.write("raw.yaml", resources)
		f.write("native.yaml", f.listener("native"))
		f.write("hello.yaml", hello("1"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "1")
		e.runs("hello")

		dump, err := e.Get(t.Context(), "/config_dump?include_eds")
		must(t, err)
		name := filepath.Join(t.TempDir(), "config_dump.json")
		must(t, os.WriteFile(name, dump, 0o600))
		converted, err := f.server.Run(t.Context(), "convert", name)
		must(t, err)
		sameResources(t, resources, string(converted))

		f.write("raw.yaml", string(converted))
		f.write("config_dump.json", string(dump))
		f.eventually(func() error {
			out, err := f.server.Run(t.Context(), f.statusArgs()...)
			if err == nil && !strings.Contains(string(out), "xds-server convert") {
				err = errors.New("nobody is told of the config_dump:\n" + string(out))
			}
			return err
		})
		f.seen(l, f.write("hello.yaml", hello("2")), "x-hello", "2")
		stats, err := e.Stats(t.Context(), "^listener_manager.listener_modified$")
		must(t, err)
		if n := stats["listener_manager.listener_modified"]; n != 0 {
			t.Errorf("%d listeners were replaced", n)
		}
		t.Log(f.good(l))
	})
}

// sameResources checks that two files have the same raw resources, and nothing else.
func sameResources(t *testing.T, want, got string) {
	t.Helper()
	read := func(text string) map[string]*definition.Resource {
		file, problems := kinds.Parser().Parse("a.yaml", []byte(text))
		if file == nil || len(file.Filters)+len(file.Listeners) > 0 {
			t.Fatalf("%v\n%s", problems, text)
		}
		resources := map[string]*definition.Resource{}
		for _, r := range file.Resources {
			resources[r.TypeURL+" "+r.Name] = r
		}
		return resources
	}
	wanted, is := read(want), read(got)
	for key, r := range wanted {
		if is[key] == nil || !proto.Equal(is[key].Message, r.Message) {
			t.Errorf("%s is not what it was:\n%v\nbut %v", key, r, is[key])
		}
	}
	for key := range is {
		if wanted[key] == nil {
			t.Errorf("%s was not written", key)
		}
	}
	if !slices.ContainsFunc(strings.Split(got, "\n"), func(line string) bool { return strings.HasPrefix(line, "# - ") }) {
		t.Errorf("it does not say what was left out:\n%s", got)
	}
}
