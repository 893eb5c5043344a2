package definition

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"

	"wasmxds/definition/internal/document"
)

// LuaFilter reads the Lua filter in a typed_config, either bare or in a
// TypedStruct. It returns nil if there is none, and false if there was an
// error. It rejects what a script's slots can't express, except for the name of
// its counters.
func (d *Doc) LuaFilter(path string, n *document.Node) (*Filter, bool) {
	path, body := bodyOf(path, n, luaName)
	if body == nil {
		return nil, true
	}
	before := len(d.problems)
	m := &luav3.Lua{}
	if !d.Message(path, body, m) || !d.Validate(path, body, m) {
		return nil, false
	}
	f := &Filter{Pos: d.Pos(), Lua: new(Lua), Place: Place{At: Last}, OnFailure: Closed}
	at := func(steps ...string) string { return joinPath(path, body.Locate(steps)) }
	//lint:ignore SA1019 deprecated, and what most have
	inline := m.GetInlineCode()
	switch code := m.GetDefaultSourceCode().GetSpecifier().(type) {
	case nil:
		if inline != "" {
			d.script(f, at("inline_code"), inline)
		} else {
			d.Problem(at("default_source_code"), "default_source_code: {inline_string: …}", "has no script")
		}
	case *corev3.DataSource_InlineString:
		d.script(f, at("default_source_code", "inline_string"), code.InlineString)
	case *corev3.DataSource_InlineBytes:
		d.script(f, at("default_source_code", "inline_bytes"), string(code.InlineBytes))
	case *corev3.DataSource_Filename:
		d.scriptFile(f, at("default_source_code", "filename"), code.Filename, "inline_string")
	default:
		d.Problem(at("default_source_code"), "write the script itself as inline_string", "refers to the environment of an Envoy, which xds-server does not know")
	}
	if inline != "" && m.GetDefaultSourceCode() != nil {
		d.Problem(at("inline_code"), "write one of them", "can't be combined with default_source_code")
	}
	if len(m.GetSourceCodes()) > 0 {
		d.Problem(at("source_codes"), "write the script as default_source_code", "is for routes that choose one, and a filter has one script here")
	}
	if c := m.GetClearRouteCache(); c != nil && !c.GetValue() {
		d.Problem(at("clear_route_cache"), "", "false is not honoured here: a script that changes headers has the route chosen again")
	}
	if m.GetFilterContext() != nil {
		d.Problem(at("filter_context"), "write what is in it into the script", "is not honoured here")
	}
	if m.GetStatPrefix() != "" {
		d.Warn(at("stat_prefix"), "", "is not kept: errors are counted in lua.errors")
	}
	if !onlyWarnings(d.problems[before:]) {
		return nil, false
	}
	return f, true
}

// script sets the script that is written at a path as f's.
func (d *Doc) script(f *Filter, path, text string) {
	d.Script(path, text)
	f.Lua.Script = text
}
