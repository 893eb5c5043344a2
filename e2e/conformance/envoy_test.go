package conformance

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
)

type object = map[string]any
type list = []any

// startEnvoy starts an Envoy that has a listener for each case.
func startEnvoy(t *testing.T, binary harness.Binary, players []*player) *harness.Envoy {
	dir := t.TempDir()
	var clusters, listeners list
	for _, p := range players {
		clusters = append(clusters, cluster(p.Upstream(), p.upstream.port(), !p.Network))
		for name, s := range p.callouts {
			clusters = append(clusters, cluster(name, s.port(), true))
		}
		listeners = append(listeners, p.listener(filepath.Join(dir, "access.log")))
	}
	lds := filepath.Join(dir, "lds.json")
	write(t, lds, object{"version_info": "1", "resources": listeners})
	bootstrap := filepath.Join(dir, "bootstrap.json")
	write(t, bootstrap, object{
		"node":              object{"id": "conformance", "cluster": "test", "metadata": object{"tier": "edge"}},
		"admin":             object{"address": socket(0)},
		"dynamic_resources": object{"lds_config": object{"path_config_source": object{"path": lds}, "resource_api_version": "V3"}},
		"static_resources":  object{"clusters": clusters},
	})
	b, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	e, err := harness.StartEnvoy(context.Background(), harness.EnvoyConfig{Binary: binary, Dir: dir, Bootstrap: b, Args: []string{
		"--component-log-level", "wasm:info", "--log-format", "%t %l %v", "--file-flush-interval-msec", "20"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Kill()
		if *keep != "" {
			b, _ := os.ReadFile(e.Log())
			_ = os.WriteFile(*keep, b, 0o644)
		}
	})
	return e
}

func write(t *testing.T, path string, content object) {
	t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func socket(port int) object {
	return object{"socket_address": object{"address": "127.0.0.1", "port_value": port}}
}

func typed(name string, fields object) object {
	fields["@type"] = "type.googleapis.com/" + name
	return fields
}

func cluster(name string, port int, http2 bool) object {
	c := object{"name": name, "connect_timeout": "5s", "load_assignment": object{"cluster_name": name, "endpoints": list{
		object{"lb_endpoints": list{object{"endpoint": object{"address": socket(port)}}}}}}}
	if http2 {
		const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
		c["typed_extension_protocol_options"] = object{options: typed(options, object{
			"explicit_http_config": object{"http2_protocol_options": object{}}})}
	}
	return c
}

// plugin is the configuration of the filter.
func (c *Case) plugin() object {
	text := func(s string) object { return typed("google.protobuf.StringValue", object{"value": s}) }
	p := object{"name": c.Name, "root_id": c.RootID, "failure_policy": strings.ToUpper(cmp.Or(c.Policy, "fail_closed")),
		"configuration": text(c.Config),
		"vm_config": object{"vm_id": c.Name, "runtime": "envoy.wasm.runtime.v8", "configuration": text(c.VMConfig),
			"code": object{"local": object{"inline_bytes": base64.StdEncoding.EncodeToString(c.Module)}}}}
	if c.Policy == "fail_reload" {
		p["reload_config"] = object{"backoff": object{"base_interval": "0.002s"}} // default: up to a second, at random; 1 ms: a division by zero
	}
	if c.Allow != nil {
		allowed := object{}
		for _, name := range c.Allow {
			allowed[name] = object{}
		}
		p["capability_restriction_config"] = object{"allowed_capabilities": allowed}
	}
	return object{"config": p}
}

func (p *player) listener(accessLog string) object {
	var filters list
	if p.Network {
		filters = list{
			object{"name": "wasm", "typed_config": typed("envoy.extensions.filters.network.wasm.v3.Wasm", p.plugin())},
			object{"name": "tcp", "typed_config": typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
				object{"stat_prefix": "tcp", "cluster": p.Case.Upstream()})}}
	} else {
		filters = list{object{"name": "hcm", "typed_config": p.hcm(accessLog)}}
	}
	l := object{"name": p.Name, "address": socket(0), "filter_chains": list{object{"filters": filters}},
		"listener_filters": list{object{"name": "proxy", "typed_config": typed("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol", object{})}}}
	if p.Buffer != 0 {
		l["per_connection_buffer_limit_bytes"] = p.Buffer
	}
	return typed("envoy.config.listener.v3.Listener", l)
}

func (p *player) hcm(accessLog string) object {
	return typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", object{
		"stat_prefix": "http", "codec_type": "HTTP2", "use_remote_address": true,
		"access_log": list{object{"name": "file", "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", object{
			"path": accessLog, "log_format": object{"text_format_source": object{
				"inline_string": p.Name + " %RESPONSE_CODE_DETAILS%\n"}}})}},
		"route_config": object{"name": "local_route", "virtual_hosts": list{object{"name": "all", "domains": list{"*"}, "routes": list{
			object{"name": "first", "match": object{"prefix": "/"}, "metadata": object{"filter_metadata": object{"app": object{"owner": "web"}}},
				"route": object{"cluster": p.Case.Upstream()}}}}}},
		"http_filters": list{
			object{"name": "wasm", "typed_config": typed("envoy.extensions.filters.http.wasm.v3.Wasm", p.plugin())},
			object{"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", object{})}},
	})
}

// addresses are those of the listeners that are there, by name.
func addresses(ctx context.Context, e *harness.Envoy) (map[string]string, error) {
	body, err := e.Get(ctx, "/listeners")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(body)) {
		if name, address, found := strings.Cut(strings.TrimSpace(line), "::"); found {
			all[name] = address
		}
	}
	return all, nil
}

// worker is the id of the thread in which requests are served.
func worker(pid int) (string, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", pid))
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(b), "wrk:worker_0") {
			return filepath.Base(filepath.Dir(name)), nil
		}
	}
	return "", fmt.Errorf("process %d has no thread wrk:worker_0", pid)
}

var anyLine = regexp.MustCompile(`^\d+ \w+ `)
var logLine = regexp.MustCompile(`^(\d+) (\w+) wasm log (?:\S+ ){0,2}(\S+?): (.*)$`)

// logged gives what the modules logged in a thread, by case.
func logged(path, thread string) (map[string][]Line, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := map[string][]Line{}
	of := "" // whose line goes on
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		switch m := logLine.FindStringSubmatch(line); {
		case m != nil && m[1] == thread:
			of = m[3]
			all[of] = append(all[of], Line{m[2], m[4]})
		case of != "" && !anyLine.MatchString(line):
			last := &all[of][len(all[of])-1]
			last.Text += "\n" + line
		default:
			of = ""
		}
	}
	return all, nil
}

// details gives %RESPONSE_CODE_DETAILS% of the requests of each case.
func details(path string) (map[string][]string, error) {
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[name] = append(all[name], text)
	}
	return all, nil
}

// metrics gives what each case has counted.
func metrics(ctx context.Context, e *harness.Envoy, names map[string]bool) (map[string][]string, error) {
	all := map[string][]string{}
	for _, kind := range []string{"Counters", "Gauges", "Histograms"} {
		body, err := e.Get(ctx, "/stats?filter=^wasmcustom&type="+kind)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(body)) {
			name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "wasmcustom.")), ": ")
			of, name, found := strings.Cut(name, ".")
			if !found || !names[of] {
				continue
			}
			if kind == "Histograms" {
				value = ""
			}
			all[of] = append(all[of], strings.TrimSpace(fmt.Sprintf("%s %s %s", strings.ToLower(kind[:len(kind)-1]), name, value)))
		}
	}
	return all, nil
}
