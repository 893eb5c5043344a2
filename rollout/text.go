package rollout

import (
	"strings"
	"sync"

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
			t.made[i].Diff = textdiff.Lines(text(d.From), text(d.To))
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

// text returns a definition in its native form, without secrets; "" if i is nil. The module
// is always identified by its content.
func text(i *Item) string {
	if i == nil {
		return ""
	}
	file := &definition.File{}
	switch v := i.Value.(type) {
	case *module.Filter:
		f := *v.Definition
		f.Module.URL, f.Module.SHA256 = definition.MaskURL(f.Module.URL), v.Module.SHA256
		file.Name, file.Filters = f.Pos.File, []*definition.Filter{&f}
	case *definition.Listener:
		file.Name, file.Listeners = v.Pos.File, []*definition.Listener{v}
	case *definition.Resource:
		file.Name, file.Resources = v.Pos.File, []*definition.Resource{v}
	}
	b, err := definition.Convert(file)
	if err != nil {
		return "# " + strings.ReplaceAll(err.Error(), "\n", " ") + "\n# its content is " + i.Hash + "\n"
	}
	return string(b)
}
