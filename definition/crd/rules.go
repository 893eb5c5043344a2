package crd

import (
	"maps"

	"wasmxds/definition"
)

// rule is a validation rule that the API server checks.
type rule struct{ cel, message string }

// The keys below are paths of fields: [] stands for any item, * for any value.

// rules returns the rules of the kinds in addition to their schemas. They
// reject nothing that xds-server accepts.
func rules() map[string]map[string][]rule {
	port := rule{`self >= 1 && self <= 65535`, "is not a port"}
	variables := []rule{{`self.all(name, size(name) > 0 && !name.contains("="))`, "is not the name of an environment variable"}}
	upstreams := []rule{
		{`has(self.upstream) && self.upstream != "" || has(self.upstreams) && size(self.upstreams) > 0`, "needs upstream: host:port, or upstreams with an address each"},
		{`!has(self.upstream) || self.upstream == "" || !has(self.upstreams)`, "upstreams: can't be combined with upstream"},
		{`!has(self.tls) || !self.tls || has(self.upstream)`, "tls: can't be combined with upstreams; write it into each entry of upstreams"},
	}
	upstream := []rule{
		{`(has(self.address) && self.address != "") != has(self.endpoints)`, "needs address or endpoints, one of them"},
		{`!has(self.serverName) || self.serverName == "" || has(self.tls) && self.tls`, "serverName: needs tls: true"},
	}
	check := []rule{{`!has(self.path) || !has(self.grpc)`, "grpc: can't be combined with path"}}
	judge := rule{`self.matches('^https?://[^/?#]')`, "needs http:// or https:// and a host"}
	attach := map[string][]rule{
		"spec.attach": {
			{`!has(self.match) || !has(self.direction) && !has(self.listeners) && !has(self.ports) && !has(self.routes)`, "match: can't be combined with direction, listeners, ports or routes; write them into each entry of match"},
		},
		"spec.attach.ports[]":         {port},
		"spec.attach.match[].ports[]": {port},
	}
	return map[string]map[string][]rule{
		"WasmFilter": joined(map[string][]rule{
			"spec": {
				{`!has(self.env) || !has(self.hostEnv) || self.hostEnv.all(name, !(name in self.env))`, "hostEnv: has a variable that is in env as well, which Envoy refuses"},
			},
			"spec.module": {
				{`self.url == "" || self.url.startsWith("/") || self.url.contains("://")`, "url: needs file://, http://, https:// or oci://: there is no folder that a path could be in"},
				{`!self.url.contains("://") || self.url.matches('^(file:///|https?://[^/]|oci://.)')`, "url: needs file:///path, http://host, https://host or oci://registry/repository:tag"},
				{`!has(self.pullSecret) || self.pullSecret == "" || self.url.startsWith("oci://")`, "pullSecret: is for oci:// only"},
				{`!has(self.fetch) || self.fetch != "direct" || self.url.startsWith("http://") || self.url.startsWith("https://")`, "fetch: direct needs http:// or https://, since Envoy fetches nothing else"},
				{`!has(self.fetch) || self.fetch != "direct" || has(self.sha256)`, "sha256: is needed for fetch: direct, since Envoy fetches nothing without it"},
				{`!has(self.fetch) || self.fetch != "direct" || !has(self.pull)`, "pull: is for fetch: mirror only"},
			},
			"spec.configFrom": {
				{`!has(self.file)`, "file: is for definitions in a directory; use configMap or secret"},
				{`has(self.file) || has(self.secret) != has(self.configMap)`, "needs secret or configMap, one of them"},
			},
			"spec.module.url": {{`self != ""`, "is empty"}},
			"spec.env":        variables,
			"spec.hostEnv":    variables,
		}, attach),
		"LuaFilter": joined(map[string][]rule{
			"spec": {
				{`has(self.inline)`, "inline: is missing; write inline: | and the script below it"},
				{`!has(self.file) || self.file == ""`, "file: is for definitions in files; write the script itself as inline"},
			},
			"spec.inline": {{`self.trim() != ""`, "is empty, needs a script"}},
		}, attach),
		"Listener": {
			"spec.address": {{
				`self.matches('^([0-9.]+|\\[[0-9a-fA-F:.]+(%[^\\[\\]]+)?\\]):[0-9]{1,5}$') && int(self.substring(self.lastIndexOf(":") + 1)) <= 65535`,
				"needs an IP address and a port, as 0.0.0.0:8080 or [::]:8080",
			}},
			"spec.tls": {
				{`!has(self.cert) && !has(self.key) && !has(self.clientCA)`, "cert, key, clientCA: files are not for objects of a cluster; name a Secret: secret, clientSecret"},
				{`has(self.secret)`, "secret: is missing"},
			},
			"spec.routes": {
				{`self.all(r, !has(r.name) || r.name == "" || self.exists_one(o, has(o.name) && o.name == r.name))`, "two routes have one name"},
			},
			"spec.routes[]": {
				{`(has(self.prefix) ? 1 : 0) + (has(self.path) ? 1 : 0) + (has(self.regex) && self.regex != "" ? 1 : 0) == 1`, "needs prefix, path or regex, one of them"},
				{`has(self.redirect) || has(self.upstream) && self.upstream != "" || has(self.upstreams) && size(self.upstreams) > 0`, "needs upstream: host:port, or upstreams with an address each, or redirect"},
				{`!has(self.redirect) || !((has(self.upstream) && self.upstream != "") || has(self.upstreams) || has(self.tls) && self.tls || has(self.rewrite) || has(self.timeout) && self.timeout != "" || has(self.retries))`, "redirect: can't be combined with upstream, upstreams, tls, rewrite, timeout or retries"},
				{`!has(self.regex) || self.regex == "" || !has(self.rewrite) && !(has(self.redirect) && has(self.redirect.prefix))`, "a prefix can't take the place of what a regex matched"},
				{`!has(self.upstream) || self.upstream == "" || !has(self.upstreams)`, "upstreams: can't be combined with upstream"},
				{`!has(self.tls) || !self.tls || has(self.upstream)`, "tls: can't be combined with upstreams; write it into each entry of upstreams"},
			},
			"spec": {
				{`has(self.routes) != has(self.tcp)`, "needs routes or tcp, one of them"},
				{`!has(self.tcp) || !has(self.accessLog) || self.accessLog == "off"`, "accessLog: is for routes: there are no requests"},
			},
			"spec.tcp":                         upstreams,
			"spec.tcp.upstreams[]":             append([]rule{{`!has(self.protocol)`, "protocol: is for routes"}}, upstream...),
			"spec.tcp.upstreams[].healthCheck": check,
			"spec.routes[].timeout":            {duration("needs a duration like 15s or 500ms")},
			"spec.routes[].headers[]": {
				{`(has(self.exact) && self.exact != "" ? 1 : 0) + (has(self.prefix) && self.prefix != "" ? 1 : 0) + (has(self.regex) && self.regex != "" ? 1 : 0) + (has(self.present) ? 1 : 0) == 1`, "needs exact, prefix, regex or present, one of them"},
			},
			"spec.routes[].redirect": {
				{`has(self.scheme) || has(self.host) && self.host != "" || has(self.port) || has(self.path) || has(self.prefix)`, "needs scheme, host, port, path or prefix"},
				{`!has(self.path) || !has(self.prefix)`, "prefix: can't be combined with path"},
				{`!has(self.code) || self.code in [301, 302, 303, 307, 308]`, "code: is not one of a redirect"},
			},
			"spec.routes[].retries.perTry":          {duration("needs a duration like 2s or 500ms")},
			"spec.routes[].upstreams[]":             upstream,
			"spec.routes[].upstreams[].healthCheck": check,
		},
		"Rollout": {
			"spec.bake": {duration("needs a duration like 2m or 90s")},
			"spec.ask[]": {
				{`has(self.prometheus) != has(self.webhook)`, "needs prometheus or webhook, one of them"},
			},
			"spec.ask[].prometheus.url":   {judge},
			"spec.ask[].prometheus.query": {{`self.trim() != ""`, "is empty"}},
			"spec.ask[].webhook.url":      {judge},
			"spec.match.definitions[]":    {{`self != ""`, "can't be the name of a definition"}},
		},
	}
}

func retryOn() []any {
	var all []any
	for _, on := range definition.RetryOn() {
		all = append(all, on)
	}
	return all
}

// hostPort matches the address of an upstream. Unlike a rule, a pattern has no
// cost, however many values there are.
const hostPort = `^([^:\[\]]+|\[[^\[\]]+\]):0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$`

// duration returns a rule for durations that time.ParseDuration accepts and
// that are not negative.
func duration(message string) rule {
	return rule{`self.matches('^[+-]?0$|^\\+?(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$')`, message}
}

// bounds returns the bounds that Kubernetes needs to estimate the cost of
// rules, and what differs between an object in a cluster and a file.
func bounds() map[string]map[string]schema {
	return map[string]map[string]schema{
		"WasmFilter": joined(map[string]schema{
			"spec.module.url":        {"maxLength": 2048, "description": "https://, http:// or oci:// URL; or file:// of xds-server's own machine."},
			"spec.module.pullSecret": text(253),
			"spec.allow":             {"pattern": "^computed$", "minItems": 1, "maxItems": 200},
			"spec.env":               {"maxProperties": 100},
			"spec.hostEnv":           items(100),
			"spec.hostEnv[]":         text(1024),
		}, attachBounds()),
		"LuaFilter": joined(map[string]schema{
			"spec.file": {"maxLength": 2048, "description": "Is for definitions in files."},
		}, attachBounds()),
		"Listener": joined(map[string]schema{
			"spec.address":                   text(100),
			"spec.tls.secret":                {"pattern": `^[a-z0-9.-]+$`},
			"spec.tls.clientSecret":          {"pattern": `^$|^[a-z0-9.-]+$`},
			"spec.tls.cert":                  {"maxLength": 1024, "description": "Is for files of definitions."},
			"spec.tls.key":                   {"maxLength": 1024, "description": "Is for files of definitions."},
			"spec.tls.clientCA":              {"maxLength": 1024, "description": "Is for files of definitions."},
			"spec.routes":                    items(200),
			"spec.routes[].name":             text(253),
			"spec.routes[].filters":          {"maxProperties": 100},
			"spec.routes[].filters.*":        offOrConfig,
			"spec.routes[].hosts":            items(100),
			"spec.routes[].hosts[]":          {"maxLength": 253, "pattern": `^(\*|(\*\.)?[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*|\[[0-9a-fA-F:.]+\])$`},
			"spec.routes[].path":             text(1024),
			"spec.routes[].prefix":           text(1024),
			"spec.routes[].regex":            text(1024),
			"spec.routes[].methods":          items(20),
			"spec.routes[].methods[]":        {"maxLength": 50, "pattern": `^[A-Z0-9_-]+$`},
			"spec.routes[].headers":          items(50),
			"spec.routes[].headers[].name":   {"maxLength": 256, "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"},
			"spec.routes[].headers[].exact":  text(4096),
			"spec.routes[].headers[].prefix": text(4096),
			"spec.routes[].headers[].regex":  text(1024),
			"spec.routes[].redirect.host":    {"maxLength": 253, "pattern": `^$|^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$|^\[[0-9a-fA-F:.]+\]$`},
			"spec.routes[].redirect.path":    text(1024),
			"spec.routes[].redirect.prefix":  text(1024),
			"spec.routes[].rewrite.prefix":   text(1024),
			"spec.routes[].retries.on":       items(20),
			"spec.routes[].retries.on[]":     {"enum": retryOn()},
			"spec.routes[].retries.perTry":   text(64),
			"spec.routes[].timeout":          text(64),
		}, upstreamBounds("spec.routes[]"), upstreamBounds("spec.tcp")),
		"Rollout": {
			// Labels, a count or a share: each constraint applies to values of
			// one type only.
			"spec.waves[]": {
				"pattern": `^[0-9]*\.?[0-9]+%$`, "minimum": 1, "maximum": 1_000_000, "multipleOf": 1, "required": []string{"labels"}, "maxProperties": 1,
			},
			"spec.bake":                {"maxLength": 64, "minLength": 1},
			"spec.match.definitions[]": text(1000),
		},
	}
}

// offOrConfig is the schema of a route's override of a filter: off, which YAML
// may turn into false, or a mapping with config only. A constraint applies to
// one type of value: no number and no list satisfies both of its bounds.
var offOrConfig = schema{
	"pattern": "^off$", "required": []string{"config"}, "maxProperties": 1,
	"not": schema{"enum": []any{true}}, "minimum": 1, "maximum": 0, "minItems": 1, "maxItems": 0,
}

// attachBounds returns the bounds of a filter's attach.
func attachBounds() map[string]schema {
	return map[string]schema{
		"spec.attach.ports":             items(1000),
		"spec.attach.listeners":         items(1000),
		"spec.attach.match":             items(100),
		"spec.attach.match[].ports":     items(1000),
		"spec.attach.match[].listeners": items(1000),
		"spec.attach.routes":            items(200),
		"spec.attach.routes[]":          text(253),
		"spec.attach.match[].routes":    items(200),
		"spec.attach.match[].routes[]":  text(253),
	}
}

// upstreamBounds returns the bounds of the upstreams at a path.
func upstreamBounds(at string) map[string]schema {
	return map[string]schema{
		at + ".upstream":                         {"maxLength": 260, "pattern": "^$|" + hostPort},
		at + ".upstreams":                        items(50),
		at + ".upstreams[].address":              {"maxLength": 260, "pattern": "^$|" + hostPort},
		at + ".upstreams[].endpoints[]":          {"maxLength": 260, "pattern": hostPort},
		at + ".upstreams[].serverName":           text(253),
		at + ".upstreams[].healthCheck.path":     text(1024),
		at + ".upstreams[].healthCheck.grpc":     text(253),
		at + ".upstreams[].healthCheck.interval": text(64),
		at + ".upstreams[].healthCheck.timeout":  text(64),
	}
}

func items(most int) schema { return schema{"maxItems": most} }

func text(longest int) schema { return schema{"maxLength": longest} }

// joined merges maps that have no key in common.
func joined[V any](of ...map[string]V) map[string]V {
	all := map[string]V{}
	for _, m := range of {
		maps.Copy(all, m)
	}
	return all
}
