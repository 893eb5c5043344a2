package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The admin interface of Envoy:
// https://www.envoyproxy.io/docs/envoy/latest/operations/admin

// Get asks the admin interface. An answer other than 200 is an error.
func (e *Envoy) Get(ctx context.Context, path string) ([]byte, error) {
	return get(ctx, "http://"+e.admin+path)
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // leaves no idle connection behind
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return body, fmt.Errorf("%s: %s: %.200s", url, resp.Status, body)
	}
	return body, nil
}

// Ready is nil when Envoy takes traffic.
func (e *Envoy) Ready(ctx context.Context) error {
	if err := e.Running(); err != nil {
		return err
	}
	_, err := e.Get(ctx, "/ready")
	return err
}

// Listener gives the address that a listener is bound to.
func (e *Envoy) Listener(ctx context.Context, name string) (string, error) {
	body, err := e.Get(ctx, "/listeners?format=json")
	if err != nil {
		return "", err
	}
	var all struct {
		Listeners []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return "", fmt.Errorf("read Envoy's listeners: %w", err)
	}
	for _, l := range all.Listeners {
		if l.Name == name && l.Address.Socket.Port != 0 {
			return net.JoinHostPort(l.Address.Socket.Address, strconv.Itoa(l.Address.Socket.Port)), nil
		}
	}
	return "", fmt.Errorf("no listener %q is bound", name)
}

// Stats gives the counters and gauges whose names match a regular expression.
func (e *Envoy) Stats(ctx context.Context, filter string) (map[string]int64, error) {
	body, err := e.Get(ctx, "/stats?filter="+url.QueryEscape(filter))
	if err != nil {
		return nil, err
	}
	stats := map[string]int64{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil { // histograms and texts are left out
			stats[name] = n
		}
	}
	return stats, nil
}

// Answers is how often a cluster answered this Envoy with status 200, and how
// often it was asked.
func (e *Envoy) Answers(ctx context.Context, cluster string) (good, asked int64, err error) {
	name := "cluster." + strings.ReplaceAll(cluster, ":", "_") + "."
	stats, err := e.Stats(ctx, "^"+regexp.QuoteMeta(name)+"upstream_rq_(200|total)$")
	return stats[name+"upstream_rq_200"], stats[name+"upstream_rq_total"], err
}

// VMs is how many Wasm VMs exist.
func (e *Envoy) VMs(ctx context.Context) (int64, error) {
	stats, err := e.Stats(ctx, `^wasm\..*active$`)
	var n int64
	for _, v := range stats {
		n += v
	}
	return n, err
}

// Extension is a Wasm filter as Envoy says it runs.
type Extension struct {
	Version string // of the resource (delta) or of its response (state of the world)
	SHA256  string // of the module
	Config  string // of the plugin, where that is a string
}

// Extensions gives the Wasm filters that Envoy got as extension configurations, by
// name: those in listeners' own slots by the name of the plugin.
func (e *Envoy) Extensions(ctx context.Context) (map[string]Extension, error) {
	body, err := e.Get(ctx, "/config_dump?resource=ecds_filters")
	if err != nil {
		return nil, err
	}
	var dump struct {
		Configs []struct {
			Version string `json:"version_info"`
			Filter  struct {
				Name  string `json:"name"`
				Typed struct {
					Plugin struct {
						Name          string `json:"name"`
						Configuration struct {
							Value any `json:"value"`
						} `json:"configuration"`
						VM struct {
							Code struct {
								Remote struct {
									SHA256 string `json:"sha256"`
								} `json:"remote"`
							} `json:"code"`
						} `json:"vm_config"`
					} `json:"config"`
				} `json:"typed_config"`
			} `json:"ecds_filter"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(body, &dump); err != nil {
		return nil, fmt.Errorf("read Envoy's config dump: %w", err)
	}
	all := map[string]Extension{}
	for _, c := range dump.Configs {
		plugin := c.Filter.Typed.Plugin
		text, _ := plugin.Configuration.Value.(string)
		name := c.Filter.Name
		version := c.Version
		if strings.HasPrefix(name, "slot/") {
			name = plugin.Name
			version, _, _ = strings.Cut(version, "-") // behind it stands which filter it is
		}
		all[name] = Extension{Version: version, SHA256: plugin.VM.Code.Remote.SHA256, Config: text}
	}
	return all, nil
}
