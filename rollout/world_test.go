package rollout_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
)

// The world of the tests. Definitions are written as words, one each:
//
//	hello=v1            a filter with that configuration, for all nodes
//	hello=v1@edge       ... for the nodes of that cluster
//	hello=v1>web        ... that names the listener web, and needs it
//	hello=none          ... whose module does not exist
//	web:80=v1           a listener at that port, with routes of that content
//	cluster/x=v1        a raw cluster

const clusterType = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

// wantedOf makes a set from such words. Unchanged words keep their pointer, as in earlier
// stages.
func wantedOf(words []string, known map[string]any, policies []*definition.Rollout, holes []*definition.Hole) *module.Set {
	set := &module.Set{Rollouts: policies, RolloutHoles: holes}
	for _, w := range slices.Sorted(slices.Values(words)) {
		v := known[w]
		if v == nil {
			v = valueOf(w)
			known[w] = v
		}
		switch v := v.(type) {
		case *module.Filter:
			set.Filters = append(set.Filters, v)
		case *definition.Listener:
			set.Listeners = append(set.Listeners, v)
		case *definition.Resource:
			set.Resources = append(set.Resources, v)
		}
	}
	return set
}

func valueOf(word string) any {
	name, content, _ := strings.Cut(word, "=")
	var nodes definition.Selector
	content, cluster, is := strings.Cut(content, "@")
	if is {
		nodes.Clusters = []string{cluster}
	}
	if raw, is := strings.CutPrefix(name, "cluster/"); is {
		return &definition.Resource{TypeURL: clusterType, Name: raw, Message: &clusterv3.Cluster{Name: raw, AltStatName: content}}
	}
	if name, port, is := strings.Cut(name, ":"); is {
		return &definition.Listener{Name: name, Address: "0.0.0.0:" + port, Nodes: nodes, Routes: []definition.Route{{Prefix: "/" + content}}}
	}
	d := &definition.Filter{Name: name, Module: definition.Module{URL: "file:///" + name, Fetch: definition.Mirror}, Attach: definition.Everywhere()}
	content, needs, is := strings.Cut(content, ">")
	if is {
		d.Attach.Listeners[0].Names = []string{needs}
	}
	d.Attach.Nodes = nodes
	f := &module.Filter{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: "sha of " + name, ABI: "0.2.1"}}
	if content == "none" {
		f.Module, f.State = module.Info{}, module.Failed
		return f
	}
	config, err := anypb.New(wrapperspb.String(content))
	if err != nil {
		panic(err)
	}
	d.Config = config
	return f
}

// wordsOf is the inverse of wantedOf.
func wordsOf(set *module.Set) []string {
	var words []string
	for _, f := range set.Filters {
		content := "none"
		if f.Ready() {
			var s wrapperspb.StringValue
			if err := f.Definition.Config.UnmarshalTo(&s); err != nil {
				panic(err)
			}
			content = s.Value
		}
		if names := f.Definition.Attach.Listeners[0].Names; len(names) > 0 {
			content += ">" + names[0]
		}
		words = append(words, f.Definition.Name+"="+content+clusterOf(f.Definition.Attach.Nodes))
	}
	for _, l := range set.Listeners {
		_, port, _ := strings.Cut(l.Address, ":")
		words = append(words, l.Name+":"+port+"="+strings.TrimPrefix(l.Routes[0].Prefix, "/")+clusterOf(l.Nodes))
	}
	for _, r := range set.Resources {
		words = append(words, "cluster/"+r.Name+"="+r.Message.(*clusterv3.Cluster).AltStatName)
	}
	return words
}

func clusterOf(s definition.Selector) string {
	if len(s.Clusters) == 0 {
		return ""
	}
	return "@" + s.Clusters[0]
}

// check reports what does not compile in this world: two listeners at one port, filters whose
// listener is missing, and x and y that are enabled without z.
func check(set *module.Set) []string {
	var wrong []string
	words := wordsOf(set)
	on := func(name string) bool { return slices.Contains(words, name+"=on") }
	if on("x") && on("y") && !on("z") {
		wrong = append(wrong, "x and y are on without z")
	}
	ports, names := map[string]string{}, map[string]bool{}
	for _, l := range set.Listeners {
		names[l.Name] = true
		if other := ports[l.Address]; other != "" {
			wrong = append(wrong, fmt.Sprintf("%s and %s are at %s", other, l.Name, l.Address))
		}
		ports[l.Address] = l.Name
	}
	for _, f := range set.Filters {
		if need := f.Definition.Attach.Listeners[0].Names; len(need) > 0 && !names[need[0]] {
			wrong = append(wrong, fmt.Sprintf("%s has no listener %s", f.Definition.Name, need[0]))
		}
	}
	return wrong
}

// policyOf parses a policy: "careful waves=tier:canary,1,5%,100% bake=1m then=pause".
func policyOf(words []string) *definition.Rollout {
	p := &definition.Rollout{Name: words[0], Definitions: []string{"*"}, Bake: time.Minute, Then: definition.Rollback,
		Stop: definition.Stop{Refused: 1, Crashes: 1, Restarts: 2, NoTraffic: definition.Wait}}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "for":
			p.Definitions = strings.Split(value, ",")
		case "waves":
			for _, wave := range strings.Split(value, ",") {
				p.Waves = append(p.Waves, waveOf(wave))
			}
		case "bake":
			p.Bake, _ = time.ParseDuration(value)
		case "then":
			p.Then = definition.Then(value)
		case "restarts":
			p.Stop.Restarts, _ = strconv.Atoi(value)
		case "noTraffic":
			p.Stop.NoTraffic = definition.NoTraffic(strings.ReplaceAll(value, "-", " "))
		case "ask":
			p.Ask = append(p.Ask, definition.Judge{Prometheus: &definition.PrometheusJudge{}})
		default:
			panic("policy: " + w)
		}
	}
	return p
}

func waveOf(word string) definition.Wave {
	if label, value, is := strings.Cut(word, ":"); is {
		return definition.Wave{Labels: map[string]string{label: value}}
	}
	if share, is := strings.CutSuffix(word, "%"); is {
		n, _ := strconv.ParseFloat(share, 64)
		return definition.Wave{Share: n / 100}
	}
	n, _ := strconv.Atoi(word)
	return definition.Wave{Count: n}
}

// lookOf returns what a judge is asked about a change now.
func lookOf(m *rollout.Machine, change, judge string) rollout.Look {
	for _, l := range m.Looks(func(l rollout.Look) bool { return l.Change == change && l.Judge == judge }) {
		return l
	}
	return rollout.Look{Change: change, Judge: judge} // it is not asked
}

// disk is what was written.
type disk map[string][]byte

func (d disk) apply(values map[string][]byte) {
	for key, value := range values {
		if value == nil {
			delete(d, key)
			continue
		}
		d[key] = value
	}
}

func (d disk) copy() disk { return maps.Clone(d) }
