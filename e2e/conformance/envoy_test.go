package conformance

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
	"wasmxds/try/envoy"
)

type (
	object = envoy.Object
	list   = envoy.List
)

// startEnvoy starts an Envoy that has a listener for each case.
func startEnvoy(t *testing.T, binary harness.Binary, players []*player) *harness.Envoy {
	dir := t.TempDir()
	var clusters, listeners list
	for _, p := range players {
		protocol := envoy.HTTP2
		if p.Network {
			protocol = envoy.HTTP1
		}
		clusters = append(clusters, envoy.Cluster(p.Upstream(), p.upstream.Port(), protocol))
		for name, s := range p.callouts {
			clusters = append(clusters, envoy.Cluster(name, s.Port(), envoy.HTTP2))
		}
		listeners = append(listeners, p.listener(filepath.Join(dir, "access.log")))
	}
	lds := filepath.Join(dir, "lds.json")
	write(t, lds, object{"version_info": "1", "resources": listeners})
	bootstrap := filepath.Join(dir, "bootstrap.json")
	write(t, bootstrap, object{
		"node":              object{"id": "conformance", "cluster": "test", "metadata": object{"tier": "edge"}},
		"admin":             object{"address": envoy.Socket(0)},
		"dynamic_resources": object{"lds_config": object{"path_config_source": object{"path": lds}, "resource_api_version": "V3"}},
		"static_resources":  object{"clusters": clusters},
	})
	b, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	e, err := harness.StartEnvoy(context.Background(), harness.EnvoyConfig{Binary: binary, Dir: dir, Bootstrap: b, Args: envoy.LogArgs("info")})
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

// plugin is the configuration of the filter.
func (c *Case) plugin() object {
	text := func(s string) object { return envoy.Typed("google.protobuf.StringValue", object{"value": s}) }
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
	var l object
	if p.Network {
		l = envoy.Listener(p.Name,
			object{"name": "wasm", "typed_config": envoy.Typed("envoy.extensions.filters.network.wasm.v3.Wasm", p.plugin())},
			object{"name": "tcp", "typed_config": envoy.Typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
				object{"stat_prefix": "tcp", "cluster": p.Case.Upstream()})})
	} else {
		l = envoy.Listener(p.Name, envoy.Manager(envoy.Typed("envoy.extensions.filters.http.wasm.v3.Wasm", p.plugin()), p.Case.Upstream(),
			envoy.AccessLog(accessLog, p.Name+" %RESPONSE_CODE_DETAILS%\n"), object{"codec_type": "HTTP2"}))
	}
	if p.Buffer != 0 {
		l["per_connection_buffer_limit_bytes"] = p.Buffer
	}
	return envoy.Typed("envoy.config.listener.v3.Listener", l)
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

var moduleLine = regexp.MustCompile(`(?s)^wasm log (?:\S+ ){0,2}(\S+?): (.*)$`)

// logged gives what the modules logged in the thread that serves requests, by case.
func logged(path string) (map[string][]Line, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all := map[string][]Line{}
	var log envoy.Log
	for line := range strings.Lines(string(b)) {
		l, ok := log.Read(line)
		if m := moduleLine.FindStringSubmatch(l.Text); ok && m != nil && !l.Main {
			all[m[1]] = append(all[m[1]], Line{l.Level, m[2]})
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
	found, err := envoy.Metrics(ctx, e.Get)
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, m := range found {
		of, name, ok := strings.Cut(m.Name, ".")
		if !ok || !names[of] {
			continue
		}
		text := m.Type + " " + name
		if m.Type != "histogram" {
			text += " " + strconv.FormatUint(m.Value, 10)
		}
		all[of] = append(all[of], text)
	}
	return all, nil
}
