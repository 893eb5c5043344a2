package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/printable"
)

var update = flag.Bool("update", false, "write what the scripts expect")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"xds-server": main})
}

// TestScripts runs testdata/script: commands as a user types them, and what
// the user sees.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("ANY", "127.0.0.1:0")
			e.Setenv("ODD", "\x1b[31m\u202eodd")
			tried, err := filepath.Abs("../../module/dryrun/testdata")
			e.Setenv("TRIED", tried)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"module":    makeModule,
			"signed":    signedCommand(t),
			"addresses": readAddresses,
			"until":     until,
			"problem":   problem,
			"printable": isPrintable,
			"odd":       makeOdd,
			"moving":    moving,
			"expand":    expand,
			"post":      post,
			"etcd":      etcdCommand(t),
			"envoys":    findEnvoys,
		},
		RequireExplicitExec: true,
		UpdateScripts:       *update,
	})
}

// module FILE VALUE writes a Proxy-Wasm module that adds the header
// x-test: VALUE.
func makeModule(ts *testscript.TestScript, _ bool, args []string) {
	f := wasmtest.Filter{Header: "x-test", Value: args[1]}
	if len(args) > 2 {
		f.Counts = args[2]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), f.Module(), 0o644))
}

// addresses FILE waits for what serve --addresses-file writes, and sets $XDS,
// $MODULES and $ADMIN.
func readAddresses(ts *testscript.TestScript, _ bool, args []string) {
	var a struct{ XDS, Modules, Admin string }
	ts.Check(poll(time.Minute, func() error {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &a)
	}))
	ts.Setenv("XDS", a.XDS)
	ts.Setenv("MODULES", a.Modules)
	ts.Setenv("ADMIN", a.Admin)
}

// until CODE URL waits until a GET is answered with that code.
func until(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	client := http.Client{Timeout: 10 * time.Second}
	ts.Check(poll(time.Minute, func() error {
		resp, err := client.Get(args[1])
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			return fmt.Errorf("%s answers %s", args[1], resp.Status)
		}
		return nil
	}))
}

// post CODE PATH [NAME=VALUE...] posts {} to $ADMIN, with the token in
// operate.token and other headers, and wants to be answered with that code.
func post(ts *testscript.TestScript, _ bool, args []string) {
	r, err := http.NewRequest(http.MethodPost, "http://"+ts.Getenv("ADMIN")+args[1], strings.NewReader("{}"))
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile("operate.token")))
	for _, header := range args[2:] {
		name, value, _ := strings.Cut(header, "=")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); fmt.Sprint(resp.StatusCode) != args[0] {
		ts.Fatalf("%v is answered with %s: %s", args[1:], resp.Status, text)
	}
}

// problem PATTERN waits until the status has a problem like that. Where it is asked for is
// in the environment, and the token for it in the file token, if there is one.
func problem(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[0])
	status := []string{"status"}
	if _, err := os.Stat(ts.MkAbs("token")); err == nil {
		status = append(status, "--admin-token-file", "token")
	}
	ts.Check(poll(time.Minute, func() error {
		ts.Check(ts.Exec("xds-server", status...))
		if out := ts.ReadFile("stdout"); !pattern.MatchString(out) {
			return fmt.Errorf("the status has no problem %s:\n%s", pattern, out)
		}
		return nil
	}))
}

// printable FILE... checks that a terminal can take what was printed.
func isPrintable(ts *testscript.TestScript, not bool, args []string) {
	for _, name := range args {
		text := ts.ReadFile(name)
		if (printable.Lines(text) == text) == not {
			ts.Fatalf("%s: %+q", name, text)
		}
	}
}

// odd writes files that no archive can hold: a definition whose name and
// content move the cursor and turn text around, and a module that imports
// such a name.
func makeOdd(ts *testscript.TestScript, _ bool, _ []string) {
	const odd = "\x1b[2J\u009b31m\u202e\u2066\u200b"
	write := func(name string, content []byte) {
		ts.Check(os.WriteFile(ts.MkAbs(name), content, 0o644))
	}
	write("odd/\x1b]0;a\a\n\u202e.yaml", []byte(`{"kind": "WasmFilter", "name": "a", "module": {"url": "a.wasm"}, "\e[2J\u202e\nkey": 1}`))
	write("odd/name.yaml", []byte(`{"kind": "WasmFilter", "name": "\u202eb\u200b", "module": {"url": "a.wasm"}}`))
	write("odd/route.yaml", []byte(`{"kind": "Listener", "name": "c", "address": "127.0.0.1:0", "routes": [{"prefix": "/\u202e", "upstream": "a\u009b\u2028:1"}]}`))
	write("odd.wasm", wasmtest.Filter{Import: odd + "\nedge-9  hello  running"}.Module())
	write("raw.yaml", []byte(`{"kind": "WasmFilter", "name": "raw", "module": {"url": "hello.wasm"}, "config": "plain \u202e\u200c\u00a0\x7f text\n"}`))
}

// expand FILE replaces the script's variables in a file.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o644))
}

// poll tries until there is no error, and gives the last one after d.
func poll(d time.Duration, try func() error) error {
	deadline := time.Now().Add(d)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// envoys sets $OLD and $NEW to the oldest and the newest Envoy to test with, and
// $OLD_VERSION and $NEW_VERSION.
func findEnvoys(ts *testscript.TestScript, _ bool, _ []string) {
	root, err := harness.Root()
	ts.Check(err)
	all, err := harness.Envoys(context.Background(), root)
	ts.Check(err)
	for name, e := range map[string]harness.Binary{"OLD": all[0], "NEW": all[len(all)-1]} {
		ts.Setenv(name, e.Path)
		ts.Setenv(name+"_VERSION", e.Version)
	}
}
