package definition

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"wasmxds/definition/internal/document"
)

// Convert writes a file's definitions, of whatever kinds, as native ones in
// YAML. If the result is in the same folder, [Parser] reads the same
// definitions from it. Raw resources stay raw, except those of a bootstrap that
// a native kind expresses exactly. Convert returns an error if a definition has
// something that the native kinds can't express.
func Convert(f *File) ([]byte, error) { return ConvertTo(f, filepath.Dir(f.Name)) }

// ConvertTo is like [Convert] for a result that is written to another folder.
func ConvertTo(f *File, dir string) ([]byte, error) {
	c := &conversion{file: f, dir: dir, static: convertStatic(f)}
	for _, filter := range f.Filters {
		if err := c.filter(filter); err != nil {
			return nil, fmt.Errorf("%v: convert %s %q: %w", filter.Pos, filter.Kind, filter.Name, err)
		}
	}
	for _, l := range f.Listeners {
		w, err := convertListener(l)
		if err != nil {
			return nil, fmt.Errorf("%v: convert listener %q: %w", l.Pos, l.Name, err)
		}
		c.add("", w)
	}
	for _, r := range f.Resources {
		if err := c.resource(r); err != nil {
			return nil, fmt.Errorf("%v: convert %q: %w", r.Pos, r.Name, err)
		}
	}
	for _, r := range f.Rollouts {
		c.add("", convertRollout(r))
	}
	for _, t := range f.Tests {
		c.add("", f.origins[t].root)
	}
	return document.Write(c.left(), c.docs)
}

// conversion is the conversion of one file.
type conversion struct {
	file   *File
	dir    string // folder of the result
	static *staticConversion
	docs   []document.Doc
}

func (c *conversion) add(comment string, value any) {
	c.docs = append(c.docs, document.Doc{Comment: comment, Value: value})
}

// from returns where in a bootstrap a definition was written, or "" if it is
// from another file.
func (c *conversion) from(definition any, at Position) string {
	if c.file.origins[definition].within == "" {
		return ""
	}
	return fmt.Sprintf("From %s, line %d", filepath.Base(at.File), at.Line)
}

// left returns a comment that lists what was left out: what belongs in an
// Envoy's bootstrap, and what does not come from those who defined what an
// Envoy runs.
func (c *conversion) left() string {
	base := filepath.Base(c.file.Name)
	var lines []string
	if len(c.file.left) > 0 {
		lines = append(lines, "Left out of "+base+", since it belongs in an Envoy's bootstrap:")
	}
	for _, p := range c.file.left {
		lines = append(lines, fmt.Sprintf("- %s, line %d: %s.", p.Field, p.Line, p.Hint))
	}
	if len(c.file.undumped) > 0 {
		lines = append(lines, "Left out of "+base+":")
	}
	return strings.Join(append(lines, grouped(c.file.undumped)...), "\n")
}

func (c *conversion) filter(f *Filter) error {
	from := c.from(f, f.Pos)
	if from == "" {
		value, err := c.convertFilter(f)
		if f.Kind != "WasmFilter" && f.Kind != luaKind && f.Kind != "TypedExtensionConfig" {
			from = "From " + f.Kind + ", " + filepath.Base(f.Pos.File) + "."
		}
		c.add(from, value)
		return err
	}
	if err := exactly(f); err != nil {
		value, failed := c.convertExtension(f)
		c.add(fmt.Sprintf("%s; as Envoy has it: %v.", from, err), value)
		return failed
	}
	native := *f
	if attached := c.static.attached[f]; attached != nil {
		native = *attached
	}
	native.Kind = "WasmFilter"
	value, err := c.convertFilter(&native)
	from += "."
	if name := f.Wasm.GetConfig().GetName(); name != "" && name != f.Name {
		from += fmt.Sprintf(" Its plugin was called %s, which is %s in logs now.", name, f.Name)
	}
	c.add(from, value)
	return err
}

func (c *conversion) resource(r *Resource) error {
	if c.static.dropped[r] {
		return nil
	}
	from := c.from(r, r.Pos)
	if l := c.static.native[r]; l != nil {
		comment := from + "."
		if l.TLS != nil {
			comment += " xds-server reads its certificate now: run it with a --tls-root that has these files."
		}
		w, err := convertListener(l)
		if err != nil {
			return err
		}
		c.add(comment, w)
		for _, script := range c.static.scripts[r] {
			value, err := c.convertLua(script)
			if err != nil {
				return err
			}
			c.add(from+".", value)
		}
		return nil
	}
	if err := c.static.why[r]; err != nil {
		from += fmt.Sprintf("; as Envoy has it: %v", err)
	}
	if from != "" {
		from += "."
	}
	n, err := messageNode(r.Message)
	c.add(from, raw(r.TypeURL, n))
	return err
}

// raw puts the @type before a message's fields.
func raw(typeURL string, n *document.Node) *document.Node {
	typed := *n
	typed.Fields = append([]document.Field{{Key: "@type", Value: textNode(typeURL)}}, n.Fields...)
	return &typed
}

func textNode(s string) *document.Node { return &document.Node{Kind: document.Text, Text: s} }

// messageNode returns a message in its JSON form.
func messageNode(m proto.Message) (*document.Node, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	docs, problems := document.JSON(b)
	if len(problems) > 0 || len(docs) != 1 {
		return nil, fmt.Errorf("its JSON form can't be read: %v", problems)
	}
	return docs[0], nil
}

func (c *conversion) convertFilter(f *Filter) (any, error) {
	if f.Lua != nil {
		return c.convertLua(f)
	}
	if f.Kind == "TypedExtensionConfig" || f.Kind == inlineKind {
		return c.convertExtension(f)
	}
	if err := expressible(f); err != nil {
		return nil, err
	}
	w := &wasmFilter{
		Kind: "WasmFilter", Name: f.Name, RootID: f.RootID, VMID: f.VMID,
		Attach: convertAttach(f.Attach), Order: f.Order, Place: f.Place.Words(f.Order),
		Env: f.Env, HostEnv: f.HostEnv, Allow: convertAllow(f), Singleton: f.Singleton,
		Module: module{SHA256: f.Module.SHA256, Pull: f.Module.Pull, PullSecret: f.Module.PullSecret},
	}
	var err error
	if w.Module.URL, err = c.relativeURL(f.Module.URL); err != nil {
		return nil, fmt.Errorf("module.url: %w", err)
	}
	if w.Module.Signed, err = c.convertSigned(f.Module.Signed); err != nil {
		return nil, fmt.Errorf("module.signed: %w", err)
	}
	if f.Serves() {
		w.Attach = convertAttach(Attach{Nodes: f.Attach.Nodes, Listeners: Everywhere().Listeners})
	}
	if f.Module.Fetch != Mirror {
		w.Module.Fetch = f.Module.Fetch
	}
	if f.OnFailure != f.Place.onFailure() {
		w.OnFailure = f.OnFailure
	}
	if f.Verify != VerifyRun {
		w.Verify = f.Verify
	}
	if s := f.ConfigSecret; s != nil {
		w.ConfigFrom = &configFrom{Secret: &objectKey{Name: s.Name, Key: s.Key}}
	} else if w.Config, err = convertConfig(f.Config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if w.VMConfig, err = convertConfig(f.VMConfig); err != nil {
		return nil, fmt.Errorf("vmConfig: %w", err)
	}
	return w, nil
}

// convertLua writes the script if it is known, and otherwise the file that
// contains it.
func (c *conversion) convertLua(f *Filter) (*luaFilter, error) {
	w := &luaFilter{
		Kind: luaKind, Name: f.Name, Inline: f.Lua.Script,
		Attach: convertAttach(f.Attach), Order: f.Order, Place: f.Place.Words(f.Order),
	}
	if f.OnFailure != Closed {
		w.OnFailure = f.OnFailure
	}
	if w.Inline != "" {
		return w, nil
	}
	var err error
	if w.File, err = c.relativeURL(f.Module.URL); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	return w, nil
}

// relativeURL returns a URL as it is written in a definition: as a path if it
// is a relative one.
func (c *conversion) relativeURL(url string) (string, error) {
	path, ok := Module{URL: url}.Path()
	if !ok || filepath.IsAbs(path) {
		return url, nil
	}
	return c.relative(path)
}

func (c *conversion) convertSigned(s *Signed) (*signed, error) {
	if s == nil {
		return nil, nil
	}
	made := &signed{Identity: s.Identity, Issuer: s.Issuer}
	var err error
	if made.Root, err = c.relativeURL(s.Root); err != nil {
		return nil, err
	}
	for _, key := range s.Keys {
		if key, err = c.relativeURL(key); err != nil {
			return nil, err
		}
		made.Keys = append(made.Keys, key)
	}
	return made, nil
}

// expressible returns an error that names the first field of a filter's Envoy
// message that a WasmFilter can't express.
func expressible(f *Filter) error {
	plugin := f.Wasm.GetConfig()
	vm := plugin.GetVmConfig()
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"reload_config", plugin.GetReloadConfig() != nil},
		{"allow_on_headers_stop_iteration", plugin.GetAllowOnHeadersStopIteration() != nil},
		{"vm_config.allow_precompiled", vm.GetAllowPrecompiled()},
		{"vm_config.runtime " + vm.GetRuntime(), vm.GetRuntime() != "" && vm.GetRuntime() != "envoy.wasm.runtime.v8"},
	} {
		if field.set {
			return fmt.Errorf("WasmFilter has no word for %s", field.name)
		}
	}
	return nil
}

// relative returns the path of a module as seen from the folder of the result.
func (c *conversion) relative(path string) (string, error) {
	dir := c.dir
	if filepath.IsAbs(dir) {
		var err error
		if path, err = filepath.Abs(path); err != nil {
			return "", err
		}
	}
	relative, err := filepath.Rel(dir, path)
	if err != nil {
		return "", err
	}
	relative = filepath.ToSlash(relative)
	if strings.Contains(relative, ":") {
		relative = "./" + relative // so that it is not read as a scheme
	}
	return relative, nil
}

// convertExtension writes a filter as the Envoy message that it was.
func (c *conversion) convertExtension(f *Filter) (*document.Node, error) {
	m := &corev3.TypedExtensionConfig{Name: f.Name, TypedConfig: &anypb.Any{}}
	if path, ok := f.Module.Path(); ok && !filepath.IsAbs(path) && c.dir != filepath.Dir(c.file.Name) {
		relative, err := c.relative(path)
		if err != nil {
			return nil, err
		}
		moved := *f
		moved.Wasm = proto.CloneOf(f.Wasm)
		moved.Wasm.GetConfig().GetVmConfig().GetCode().GetLocal().Specifier = &corev3.DataSource_Filename{Filename: relative}
		f = &moved
	}
	if err := m.TypedConfig.MarshalFrom(f.message()); err != nil {
		return nil, err
	}
	n, err := messageNode(m)
	if err != nil {
		return nil, err
	}
	if f.Module.Fetch == Direct {
		n.Fields = append(n.Fields, document.Field{Key: "fetch", Value: textNode(string(Direct))})
	}
	if f.Verify != VerifyRun {
		n.Fields = append(n.Fields, document.Field{Key: "verify", Value: textNode(string(f.Verify))})
	}
	return raw(extensionType, n), nil
}

func convertAttach(a Attach) *attach {
	made := &attach{Nodes: nodes(a.Nodes)}
	switch len(a.Listeners) {
	case 0:
		made.Listeners = &[]string{}
	case 1:
		m := convertMatch(a.Listeners[0])
		made.Direction, made.Ports, made.Routes = m.Direction, m.Ports, m.Routes
		if len(m.Listeners) > 0 {
			made.Listeners = &m.Listeners
		}
		if m.Direction == "" && len(m.Listeners)+len(m.Ports)+len(m.Routes) == 0 && covers(a.Nodes, Selector{}) {
			return nil
		}
	default:
		made.Match = &[]attachMatch{}
		for _, m := range a.Listeners {
			*made.Match = append(*made.Match, convertMatch(m))
		}
	}
	return made
}

func convertMatch(m ListenerMatch) attachMatch {
	made := attachMatch{Direction: m.Direction, Listeners: m.Names, Ports: m.Ports, Routes: m.Routes}
	if made.Direction == Any {
		made.Direction = ""
	}
	return made
}

// convertConfig writes a configuration so that it is read as the same bytes
// again: as a mapping or list if the bytes are compact JSON with sorted keys,
// and otherwise as text.
func convertConfig(config *anypb.Any) (*document.Node, error) {
	if config == nil {
		return nil, nil
	}
	value := &wrapperspb.StringValue{}
	if config.UnmarshalTo(value) != nil {
		return messageNode(config)
	}
	docs, problems := document.JSON([]byte(value.GetValue()))
	if len(problems) == 0 && len(docs) == 1 && (docs[0].Kind == document.List || docs[0].Kind == document.Object && docs[0].Get("@type") == nil) {
		written, err := document.Write("", []document.Doc{{Value: docs[0]}})
		if err != nil {
			return nil, err
		}
		if again, _ := document.YAML(written); len(again) == 1 && bytes.Equal(again[0].JSON(), []byte(value.GetValue())) {
			return docs[0], nil
		}
	}
	return textNode(value.GetValue()), nil
}
