package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"wasmxds/e2e/harness"
)

// fields are the values of a Wasm filter's fields that Envoy may or may not
// tell apart: a change of that field alone, there and back, has to be seen in
// what show tells of the filter.
var fields = []struct {
	name          string
	first, second string // of the filter's config, JSON
	show          func(*probe) string
	want          [2]string
}{
	{"name", `{"name": "one"}`, `{"name": "two"}`, header("x-name"), [2]string{"one", "two"}},
	{"root_id", `{"root_id": "one"}`, `{"root_id": "two"}`, header("x-root"), [2]string{"one", "two"}},
	{"configuration", `{"configuration": ` + text("one") + `}`, `{"configuration": ` + text("two") + `}`,
		header("x-configuration"), [2]string{"one", "two"}},
	{"vm_config.configuration", `{"vm_config": {"configuration": ` + text("one") + `}}`,
		`{"vm_config": {"configuration": ` + text("two") + `}}`, header("x-vm"), [2]string{"one", "two"}},
	{"vm_config.environment_variables.key_values", `{"vm_config": {"environment_variables": {"key_values": {"PROBE": "one"}}}}`,
		`{"vm_config": {"environment_variables": {"key_values": {"PROBE": "two"}}}}`, header("x-variable"), [2]string{"one", "two"}},
	{"vm_config.environment_variables.host_env_keys", `{}`,
		`{"vm_config": {"environment_variables": {"host_env_keys": ["PROBE"]}}}`, header("x-variable"), [2]string{"", "host"}},
	{"capability_restriction_config", `{}`, `{"capability_restriction_config": {"allowed_capabilities": MOST}}`,
		(*probe).mayReplace, [2]string{"may", "may not"}},
	{"vm_config.capability_restriction_config", `{}`, `{"vm_config": {"capability_restriction_config": {"allowed_capabilities": MOST}}}`,
		(*probe).mayReplace, [2]string{"may", "may not"}},
	{"both capability_restriction_config",
		`{"capability_restriction_config": {"allowed_capabilities": ALL}, "vm_config": {"capability_restriction_config": {"allowed_capabilities": ALL}}}`,
		`{"capability_restriction_config": {"allowed_capabilities": MOST}, "vm_config": {"capability_restriction_config": {"allowed_capabilities": MOST}}}`,
		(*probe).mayReplace, [2]string{"may", "may not"}},
	{"allow_on_headers_stop_iteration", `{"allow_on_headers_stop_iteration": true}`, `{"allow_on_headers_stop_iteration": false}`,
		(*probe).held, [2]string{"answered", "held"}},
	{"vm_config.runtime", `{"vm_config": {"runtime": "envoy.wasm.runtime.v8"}}`, `{"vm_config": {"runtime": "envoy.wasm.runtime.wamr"}}`,
		header("x-probe"), [2]string{"here", refused}},
	{"failure_policy", `{"failure_policy": "FAIL_CLOSED"}`, `{"failure_policy": "FAIL_OPEN"}`, (*probe).trapped, [2]string{"closed", "open"}},
	{"failure_policy of reload", `{"failure_policy": "FAIL_RELOAD", "reload_config": ` + backoff("0.01s") + `}`,
		`{"failure_policy": "FAIL_CLOSED", "reload_config": ` + backoff("0.01s") + `}`, (*probe).trapped, [2]string{"reloaded", "closed"}},
	{"fail_open", `{"fail_open": true}`, `{"fail_open": false}`, (*probe).trapped, [2]string{"open", "closed"}},
	{"reload_config", `{"failure_policy": "FAIL_RELOAD", "reload_config": ` + backoff("600s") + `}`,
		`{"failure_policy": "FAIL_RELOAD", "reload_config": ` + backoff("0.01s") + `}`, (*probe).trapped, [2]string{"closed", "reloaded"}},
}

// refused is for what Envoy takes only from a new VM, which then fails.
const refused = "refused"

func text(s string) string {
	return fmt.Sprintf(`{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": %q}`, s)
}

func backoff(base string) string { return fmt.Sprintf(`{"backoff": {"base_interval": %q}}`, base) }

// TestFieldAlone: each field of a Wasm filter takes effect when it is all that
// changes, also where Envoy's keys of VMs and plugins leave it out.
func TestFieldAlone(t *testing.T) {
	module := filepath.Join(t.TempDir(), "probe.wasm")
	t.Setenv("GOOS", "wasip1")
	t.Setenv("GOARCH", "wasm")
	build(t, "go", "-C", "filter/stdgo", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", module, "./testdata/probe")
	t.Setenv("PROBE", "host")
	all, most := capabilities(t, module)
	eachOnce(t, func(t *testing.T, c combination) {
		p := newProbe(t, c, module)
		for _, field := range fields {
			t.Run(field.name, func(t *testing.T) {
				p.t = t
				p.set(`{"name": "between"}`, false)
				for _, nth := range []int{0, 1, 0, 1, 0} {
					config := strings.NewReplacer("ALL", all, "MOST", most).Replace([]string{field.first, field.second}[nth])
					p.set(config, field.want[nth] == refused)
					if field.want[nth] == refused {
						continue
					}
					if strings.HasPrefix(field.name, "fail") || field.name == "reload_config" {
						// What has trapped is replaced by any change: the one
						// that is looked at meets a VM that never did.
						p.set(`{"name": "healed"}`, false)
						p.set([]string{field.first, field.second}[1-nth], false)
						p.set(config, false)
					}
					p.wanted = field.want[nth]
					if got := field.show(p); got != field.want[nth] {
						t.Errorf("%s: %q, want %q", config, got, field.want[nth])
					}
				}
			})
		}
	})
}

// probe is an Envoy with the filter of that name.
type probe struct {
	*fleet
	e       *edge
	module  string
	version string // that is wanted
	wanted  string // of show
}

// meanwhile is for how long it is looked whether something happens that is not to,
// or waited for what is to.
func (p *probe) meanwhile(happens string) time.Duration {
	if p.wanted == happens {
		return patience
	}
	return 200 * time.Millisecond
}

func newProbe(t *testing.T, c combination, module string) *probe {
	p := &probe{fleet: newFleet(t)}
	p.module = filepath.Join(p.dir, "probe.wasm")
	code, err := os.ReadFile(module)
	must(t, err)
	must(t, os.WriteFile(p.module, code, 0o644))
	p.write("web.yaml", p.staticListener("web", "probe")+"---\n"+p.upstreamCluster())
	p.serve("--signals=false") // a VM that crashes is to stay so
	p.set(`{}`, false)
	p.e = p.envoy(c, "edge-1")
	p.version = p.e.runs("probe").Wanted
	return p
}

// set writes the filter with a config and waits until Envoy has it, or has
// refused it.
func (p *probe) set(config string, refuse bool) {
	p.t.Helper()
	made := map[string]any{}
	must(p.t, json.Unmarshal([]byte(config), &made))
	vm, _ := made["vm_config"].(map[string]any)
	if vm == nil {
		vm = map[string]any{}
		made["vm_config"] = vm
	}
	vm["vm_id"] = "probe"
	vm["code"] = map[string]any{"local": map[string]any{"filename": p.module}}
	b, err := json.Marshal(map[string]any{
		"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": "probe", "verify": "abi",
		"typed_config": map[string]any{"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": made},
	})
	must(p.t, err)
	p.write("probe.json", string(b))
	if p.e == nil {
		return
	}
	p.eventually(func() error {
		status, err := p.server.Status(p.t.Context())
		if err != nil {
			return err
		}
		at, err := status.Filter("edge-1", "probe")
		if err != nil {
			return err
		}
		want := "running"
		if refuse {
			want = "failed"
		}
		if at.State != want || at.Wanted == p.version || !refuse && at.Running != at.Wanted {
			return fmt.Errorf("want a new version %s, have %+v", want, at)
		}
		p.version = at.Wanted
		return nil
	})
}

// header shows what a header of a request is at the upstream.
func header(name string) func(*probe) string {
	return func(p *probe) string {
		a := p.e.get("web", "/")
		if a.status != http.StatusOK {
			return fmt.Sprint(a.status)
		}
		return a.reached.Get(name)
	}
}

// mayReplace shows whether the filter may replace headers.
func (p *probe) mayReplace() string {
	if header("x-probe")(p) == "here" {
		return "may"
	}
	return "may not"
}

// held shows whether a request whose headers were paused is answered once its
// body has passed.
func (p *probe) held() string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: p.meanwhile("answered")}
	resp, err := client.Post("http://"+p.e.address("web")+"/hold", "text/plain", strings.NewReader("body"))
	if err != nil {
		return "held"
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return "answered"
}

// trapped shows what becomes of requests after one in which the filter
// trapped.
func (p *probe) trapped() string {
	p.e.get("web", "/boom")
	seen := ""
	harness.Poll(p.t.Context(), p.meanwhile("reloaded"), func() error {
		switch a := p.e.get("web", "/"); {
		case a.status != http.StatusOK:
			seen = "closed"
		case a.reached.Get("x-probe") == "":
			seen = "open"
		default:
			seen = "reloaded"
			return nil
		}
		return fmt.Errorf("%s so far", seen)
	})
	return seen
}

// capabilities are the host calls and callbacks of a module, as allowed
// capabilities in JSON: all, and all but one.
func capabilities(t *testing.T, module string) (all, most string) {
	t.Helper()
	code, err := os.ReadFile(module)
	must(t, err)
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	compiled, err := r.CompileModule(t.Context(), code)
	must(t, err)
	names := map[string]struct{}{}
	for _, f := range compiled.ImportedFunctions() {
		_, name, _ := f.Import()
		names[name] = struct{}{}
	}
	for name := range compiled.ExportedFunctions() {
		names[name] = struct{}{}
	}
	b, err := json.Marshal(names)
	must(t, err)
	delete(names, "proxy_replace_header_map_value")
	c, err := json.Marshal(names)
	must(t, err)
	return string(b), string(c)
}
