package admin

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/module"
)

// described is a filter's definition in the form of a WasmFilter or LuaFilter,
// whatever kind it was written as.
type described struct {
	Kind   string `yaml:"kind"`
	Name   string `yaml:"name"`
	Inline string `yaml:"inline,omitempty"`
	Module struct {
		URL    string           `yaml:"url"`
		SHA256 string           `yaml:"sha256,omitempty"`
		Fetch  definition.Fetch `yaml:"fetch,omitempty"`
	} `yaml:"module,omitempty"`
	Config     any                  `yaml:"config,omitempty"`
	ConfigFrom map[string]any       `yaml:"configFrom,omitempty"`
	VMConfig   any                  `yaml:"vmConfig,omitempty"`
	RootID     string               `yaml:"rootID,omitempty"`
	VMID       string               `yaml:"vmID,omitempty"`
	Attach     map[string]any       `yaml:"attach,omitempty"`
	Order      int                  `yaml:"order,omitempty"`
	Place      string               `yaml:"place,omitempty"`
	OnFailure  definition.OnFailure `yaml:"onFailure,omitempty"`
	Env        map[string]string    `yaml:"env,omitempty"`
	HostEnv    []string             `yaml:"hostEnv,omitempty"`
	Allow      []string             `yaml:"allow,omitempty"`
	Verify     definition.Verify    `yaml:"verify,omitempty"`
}

// describeBoth returns two versions of a filter as describe does, for people to
// compare.
func describeBoth(from, to *module.Filter) (was, is string) {
	a, b, note := definition.ShownTogether(from.Definition, to.Definition)
	return describeAs(from, a), describeAs(to, b) + note
}

// describe returns the served definition of a filter as YAML, without secrets.
func describe(f *module.Filter) string { return describeAs(f, f.Definition) }

func describeAs(f *module.Filter, d *definition.Filter) string {
	out := described{
		Kind: d.Kind, Name: d.Name, RootID: d.RootID, VMID: d.VMID, Order: d.Order, Place: d.Place.Words(d.Order), OnFailure: d.OnFailure,
		Env: d.Env, HostEnv: d.HostEnv, Allow: d.Allow, Verify: d.Verify,
		Config: configValue(d.Config), VMConfig: configValue(d.VMConfig), Attach: attachValue(d.Attach),
	}
	if s := d.ConfigSecret; s != nil {
		out.Config = nil
		out.ConfigFrom = map[string]any{"secret": map[string]string{"name": s.Name, "key": s.Key}}
	}
	if d.AllowComputed {
		out.Allow = append([]string{"computed"}, d.Allow...)
	}
	if d.Lua != nil {
		out.Inline = d.Lua.Script
	} else {
		out.Module.URL, out.Module.SHA256, out.Module.Fetch = definition.MaskURL(d.Module.URL), sha256Of(f), d.Module.Fetch
	}
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(out); err != nil {
		return "# " + err.Error() + "\n"
	}
	return b.String()
}

// configValue returns a configuration approximately as it was written.
func configValue(a *anypb.Any) any {
	if a == nil {
		return nil
	}
	var s wrapperspb.StringValue
	if a.UnmarshalTo(&s) == nil {
		var v any
		if json.Unmarshal([]byte(s.Value), &v) == nil {
			return v
		}
		return s.Value
	}
	var v any
	b, err := protojson.Marshal(a)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		return map[string]any{"@type": a.TypeUrl, "bytes": fmt.Sprintf("%x", a.Value)}
	}
	return v
}

func attachValue(a definition.Attach) map[string]any {
	out := map[string]any{}
	if nodes := selectorValue(a.Nodes); len(nodes) > 0 {
		out["nodes"] = nodes
	}
	var listeners []map[string]any
	for _, l := range a.Listeners {
		m := map[string]any{}
		if l.Direction != "" && l.Direction != definition.Any {
			m["direction"] = string(l.Direction)
		}
		if len(l.Names) > 0 {
			m["names"] = l.Names
		}
		if len(l.Ports) > 0 {
			m["ports"] = l.Ports
		}
		if len(l.Routes) > 0 {
			m["routes"] = l.Routes
		}
		listeners = append(listeners, m)
	}
	if len(listeners) > 0 {
		out["listeners"] = listeners
	}
	return out
}

func selectorValue(s definition.Selector) map[string]any {
	out := map[string]any{}
	if len(s.IDs) > 0 {
		out["ids"] = s.IDs
	}
	if len(s.Clusters) > 0 {
		out["clusters"] = s.Clusters
	}
	if len(s.Labels) > 0 {
		out["labels"] = s.Labels
	}
	return out
}
