package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition"
	"wasmxds/module"
)

// content is the saved form of an Item. One of its fields is set.
type content struct {
	Filter   *module.Kept         `json:"filter,omitempty"`
	Listener *definition.Listener `json:"listener,omitempty"`
	Resource *keptResource        `json:"resource,omitempty"`
}

// keptResource is the saved form of a definition.Resource.
type keptResource struct {
	Name    string              `json:"name"`
	Pos     definition.Position `json:"pos"`
	TypeURL string              `json:"typeURL"`
	Message []byte              `json:"message"`
}

func contentOf(value any) (c content, err error) {
	switch v := value.(type) {
	case *module.Filter:
		var k module.Kept
		k, err = module.Keep(v.Definition, v.Module)
		c.Filter = &k
	case *definition.Listener:
		c.Listener = v
	case *definition.Resource:
		c.Resource = &keptResource{Name: v.Name, Pos: v.Pos, TypeURL: v.TypeURL}
		c.Resource.Message, err = proto.MarshalOptions{Deterministic: true}.Marshal(v.Message)
	default:
		err = fmt.Errorf("no definition is a %T", value)
	}
	return c, err
}

// value is the inverse of contentOf.
func (c content) value() (any, error) {
	switch {
	case c.Filter != nil:
		d, err := c.Filter.Restore()
		if err != nil {
			return nil, err
		}
		f := &module.Filter{Definition: d, Module: c.Filter.Module, Wanted: d, State: module.Good}
		if !f.Ready() {
			f.State, f.Reason = module.Failed, "it never had a module"
		}
		return f, nil
	case c.Listener != nil:
		return c.Listener, nil
	case c.Resource != nil:
		m, err := (&anypb.Any{TypeUrl: c.Resource.TypeURL, Value: c.Resource.Message}).UnmarshalNew()
		if err != nil {
			return nil, err
		}
		return &definition.Resource{TypeURL: c.Resource.TypeURL, Name: c.Resource.Name, Pos: c.Resource.Pos, Message: m}, nil
	}
	return nil, errors.New("nothing is in it")
}

// hashOf returns a hash of what Envoys get for a definition. Fields with default values
// don't affect it, so a field that a later version adds changes no hash as long as nobody
// uses it.
func hashOf(value any) (string, error) {
	c, err := contentOf(value)
	if err != nil {
		return "", err
	}
	switch {
	case c.Filter != nil:
		d := &c.Filter.Definition
		d.Pos, d.Kind, d.Verify, c.Filter.Trial = definition.Position{}, "", "", ""
		d.Module.Pull, d.Module.PullSecret, d.Module.Signed = "", "", nil
		if d.Lua != nil && d.Lua.Script != "" {
			d.Module.URL = ""
		}
		if c.Filter.Module.SHA256 != "" {
			d.Module.SHA256 = ""
			if d.Module.Fetch == definition.Mirror {
				d.Module.URL = ""
			}
		}
		c.Filter.Module = module.Info{SHA256: c.Filter.Module.SHA256}
	case c.Listener != nil:
		l := *c.Listener
		l.Pos = definition.Position{}
		if l.TLS != nil {
			t := *l.TLS
			t.Folder = ""
			l.TLS = &t
		}
		c.Listener = &l
	case c.Resource != nil:
		c.Resource.Pos = definition.Position{}
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	var generic any
	if err := json.Unmarshal(b, &generic); err != nil {
		return "", err
	}
	if b, err = json.Marshal(pruned(generic)); err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}

// pruned removes default values from objects. It keeps empty lists, which may differ in
// meaning from absent ones.
func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, field := range v {
			field = pruned(field)
			if object, is := field.(map[string]any); field == nil || field == "" || field == false || field == 0.0 || is && len(object) == 0 {
				delete(v, key)
				continue
			}
			v[key] = field
		}
	case []any:
		for i := range v {
			v[i] = pruned(v[i])
		}
	}
	return v
}
