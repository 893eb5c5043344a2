package rollout

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/textdiff"
)

// mostTexts is how many definitions of a change are shown as text.
const mostTexts = 50

// texts are the definitions of a change for people. They are computed on demand.
type texts struct {
	diffs []diff
	once  sync.Once
	made  []DefinitionStatus
}

func (t *texts) all() []DefinitionStatus {
	t.once.Do(func() {
		t.made = briefs(t.diffs)
		for i, d := range t.diffs[:min(len(t.diffs), mostTexts)] {
			t.made[i].Diff = textdiff.Lines(d.texts())
		}
	})
	return t.made
}

// briefs returns the definitions of a change without their texts.
func briefs(diffs []diff) []DefinitionStatus {
	all := make([]DefinitionStatus, 0, len(diffs))
	for _, d := range diffs {
		s := DefinitionStatus{Kind: d.Kind, Name: d.Name, What: "changed", From: short(d.From), To: short(d.To)}
		switch {
		case d.From == nil:
			s.What = "added"
		case d.To == nil:
			s.What = "removed"
		}
		all = append(all, s)
	}
	return all
}

func short(i *Item) string {
	if i == nil {
		return ""
	}
	return i.Hash[:8]
}

// texts returns both versions of a definition in their native form, without secrets; "" for
// one that is not there.
func (d *diff) texts() (from, to string) {
	was, is, note := definition.ShownTogether(filterIn(d.From), filterIn(d.To))
	from, before := text(d.From, was)
	to, now := text(d.To, is)
	if len(before) > 0 && len(now) > 0 && !slices.Equal(before, now) {
		note += "# a value that is not shown is another one than before\n"
	}
	return from, to + note
}

// filterIn returns the definition of a filter; nil if i is not one.
func filterIn(i *Item) *definition.Filter {
	if i == nil {
		return nil
	}
	if f, is := i.Value.(*module.Filter); is {
		return f.Definition
	}
	return nil
}

// text returns a definition in its native form; "" if i is nil. Of a filter, shown is its
// definition without secrets. The module is always identified by its content. Of a raw
// resource, secrets are the values that are not shown.
func text(i *Item, shown *definition.Filter) (text string, secrets []string) {
	if i == nil {
		return "", nil
	}
	file := &definition.File{}
	switch v := i.Value.(type) {
	case *module.Filter:
		f := *shown
		f.Module.URL, f.Module.SHA256 = definition.MaskURL(f.Module.URL), v.Module.SHA256
		file.Name, file.Filters = f.Pos.File, []*definition.Filter{&f}
	case *definition.Listener:
		file.Name, file.Listeners = v.Pos.File, []*definition.Listener{v}
	case *definition.Resource:
		if _, is := v.Message.(*tlsv3.Secret); is { // a private key, or the like
			return fmt.Sprintf("'@type': %s\nname: %s\n# its content is not shown; the hash of it begins with %s\n", v.TypeURL, v.Name, short(i)), nil
		}
		r := *v
		r.Message, secrets = definition.Redact(v.Message)
		file.Name, file.Resources = v.Pos.File, []*definition.Resource{&r}
	}
	b, err := definition.Convert(file)
	if err != nil {
		return "# " + strings.ReplaceAll(err.Error(), "\n", " ") + "\n# its content is " + i.Hash + "\n", secrets
	}
	return string(b), secrets
}
