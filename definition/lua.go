package definition

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	luaKind = "LuaFilter"
	luaName = "envoy.extensions.filters.http.lua.v3.Lua"
)

// Lua is a filter that is a script, which Envoy itself runs.
type Lua struct {
	// Script is the text of the script. If it is "", the script is in the file
	// at Module.URL, and is read together with the modules.
	Script string
}

// MaxScript is the maximum size of a script in bytes. In every Envoy, each slot
// of the filter holds the whole script. Istio has the same limit.
const MaxScript = 64 << 10

// luaFilter is a document of kind LuaFilter.
type luaFilter struct {
	Kind      string    `json:"kind" jsonschema:"required,enum=LuaFilter"`
	Name      string    `json:"name" jsonschema:"required,maxLength=253" jsonschema_description:"Name of the filter; unique among filters of all kinds."`
	Inline    string    `json:"inline,omitempty" jsonschema:"maxLength=65536" jsonschema_description:"The script itself."`
	File      string    `json:"file,omitempty" jsonschema_description:"File that has the script, in place of inline: a path from this file."`
	Attach    *attach   `json:"attach,omitempty" jsonschema_description:"Listeners and nodes that get the filter. Default: every listener of every node."`
	Order     int       `json:"order,omitempty" jsonschema_description:"Lower is nearer the client, among filters of all kinds; ties by name. Default: 0."`
	Place     string    `json:"place,omitempty" jsonschema:"pattern=^(first|authz|stats|last|(before|after) .+)$" jsonschema_description:"Where the filter stands among a listener's own filters: first, authz, stats, last, or before or after NAME. Default: first where order is negative, else last."`
	OnFailure OnFailure `json:"onFailure,omitempty" jsonschema:"enum=closed,enum=open" jsonschema_description:"What becomes of a listener while Envoy rejects the script: closed (default) has it wait, open has it go without. An error in a request is logged by Envoy, and the request goes on, in either case."`
}

func readLuaFilter(d *Doc) {
	var w luaFilter
	ok := d.Decode(&w)
	before := len(d.problems)
	f := &Filter{
		Name: w.Name, Kind: w.Kind, Pos: d.Pos(), Lua: &Lua{Script: w.Inline},
		Attach: d.attach(w.Attach), Order: w.Order, Place: d.place(w.Place, w.Order), OnFailure: w.OnFailure,
	}
	if f.OnFailure == "" {
		f.OnFailure = Closed
	}
	if f.Place.Network || f.Logs() || f.Serves() {
		d.Problem("place", "first, authz, stats, last, before NAME or after NAME", "%s is for Wasm: Envoy has Lua for HTTP alone", w.Place)
	}
	d.FilterName("name", f.Name)
	switch {
	case w.Inline != "" && w.File != "":
		d.Problem("file", "write one of them", "can't be combined with inline")
	case w.File != "":
		d.scriptFile(f, "file", w.File, "inline")
	case d.root.Get("inline") == nil && d.root.Get("file") == nil:
		d.Problem("inline", "write inline: | and the script below it, or file: and the path of one", "is missing")
	default:
		d.Script("inline", w.Inline)
	}
	if ok && len(d.problems) == before {
		d.AddFilter(f, nil)
	}
}

// scriptFile sets the file at a path as the source of f's script. The parameter
// inline is the name of the field for an inline script.
func (d *Doc) scriptFile(f *Filter, path, written, inline string) {
	if d.InCluster() {
		// Anyone who can write such an object could read the file.
		d.Problem(path, "write the script itself as "+inline, "is for definitions in files")
		return
	}
	if strings.Contains(written, "://") && !strings.HasPrefix(written, "file://") {
		d.Problem(path, "write a path, or the script itself as "+inline, "is not a file: scripts are not fetched")
		return
	}
	f.Module.URL = d.ModuleURL(path, written)
}

// Script checks a script that is written at a path.
func (d *Doc) Script(path, text string) {
	if err := CheckScript(text); err != nil {
		d.Problem(path, "", "%v", err)
	}
}

// CheckScript returns an error if no Envoy can accept the script. It does not
// check whether the script is valid Lua: Envoy does so itself, in its primer,
// because LuaJIT accepts more than any Lua parser does.
func CheckScript(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("is empty, needs a script")
	case len(text) > MaxScript:
		return fmt.Errorf("has %d bytes, %d at most", len(text), MaxScript)
	case !utf8.ValidString(text):
		return fmt.Errorf("is not UTF-8, as Envoy needs it")
	case strings.HasPrefix(text, "\x1b"):
		// Envoy's loader accepts bytecode without verifying it.
		return fmt.Errorf("is compiled, needs the text of a script")
	}
	return nil
}
