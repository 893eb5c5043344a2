package resource

import (
	"fmt"
	"path/filepath"

	"wasmxds/definition"
)

// holes adds a filter that is always missing for each hole that withholds
// listeners. They wait for it as for any filter that fails closed: an Envoy
// that has the listener keeps it unchanged, and one that starts is not ready.
func (b *builder) holes(withheld []definition.Withheld) error {
	made := map[*definition.Hole]*filter{}
	for _, w := range withheld {
		for _, h := range w.By {
			f := made[h]
			if f == nil {
				var err error
				if f, err = b.hole(h); err != nil {
					return err
				}
				made[h] = f
			}
			f.withheld[w.Listener] = true
		}
	}
	return nil
}

// hole adds the filter for one hole. Its name contains spaces, so no filter of
// a document has it.
func (b *builder) hole(h *definition.Hole) (*filter, error) {
	at := h.Pos
	if at.Line > 0 {
		at.File = filepath.Base(at.File)
	}
	name := fmt.Sprintf("%v (%v)", h, at)
	for n := 2; b.byKey[key{ExtensionType, name}] != nil; n++ {
		name = fmt.Sprintf("%v (%v) #%d", h, at, n)
	}
	f := &filter{
		Filter: &Filter{
			Name: name, TwinName: TwinPrefix + name, ID: nameID(name), OnFailure: definition.Closed,
			Missing: h.Cause.Error(),
		},
		withheld:  map[string]bool{},
		slotEntry: definition.Slot(name, false),
	}
	if err := f.setNoops(); err != nil {
		return nil, err
	}
	e := &catalogEntry{key: key{ExtensionType, name}, nodes: b.sameNodes(h.Attach.Nodes), part: f, pos: h.Pos}
	b.byKey[e.key] = e
	b.selectors[e.nodes.name] = e.nodes
	return f, nil
}

// settleHoles reuses the parts of holes that withhold the same listeners as
// before.
func (b *builder) settleHoles() {
	for k, e := range b.byKey {
		f, ok := e.part.(*filter)
		if !ok || f.withheld == nil {
			continue
		}
		e.part = b.known(k, f)
		b.contents(e.nodes).put(e)
	}
}
