package apply

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wasmxds/source/etcd"
)

// File is the desired text of a document.
type File struct {
	Name string // of the document
	Path string // for messages
	Text []byte
}

// Change is a requested change.
type Change struct {
	Files  []File
	Labels Labels   // labels for the files; nil: keep existing labels
	Delete []string // names
	// IgnoreNotFound ignores names in Delete that do not exist.
	IgnoreNotFound bool
	// Prune deletes documents that have all Labels and are not in Files.
	Prune bool
}

// Action is the effect of a change on one document.
type Action struct {
	Name string
	What What
	File *File     // the new content; nil: none
	Was  *Document // the current document; nil: none

	labels Labels // to write; nil: none
}

// What is the type of an Action.
type What string

const (
	Created    What = "created"
	Configured What = "configured"
	Unchanged  What = "unchanged"
	Deleted    What = "deleted"
	Pruned     What = "pruned"
)

// Plan is the effect of a change on Contents.
type Plan struct {
	Actions []Action // by name
	From    *Contents
}

// Plan returns what a change would do. It returns an error if two files have
// the same name, or if a name to delete does not exist, except with
// IgnoreNotFound.
func (c *Contents) Plan(change Change) (*Plan, error) {
	p := &Plan{From: c}
	planned := map[string]*File{}
	for i := range change.Files {
		f := &change.Files[i]
		if err := etcd.CheckName(f.Name); err != nil {
			return nil, fmt.Errorf("%s: invalid document name: %w", f.Path, err)
		}
		if other := planned[f.Name]; other != nil {
			return nil, fmt.Errorf("%s and %s are both document %s", other.Path, f.Path, f.Name)
		}
		planned[f.Name] = f
		p.Actions = append(p.Actions, put(f, c.Documents[f.Name], change.Labels))
	}
	for _, name := range change.Delete {
		switch was := c.Documents[name]; {
		case was != nil:
			p.Actions = append(p.Actions, Action{Name: name, What: Deleted, Was: was})
		case !change.IgnoreNotFound:
			return nil, fmt.Errorf("no document %s", name)
		}
	}
	if change.Prune {
		if len(change.Labels) == 0 {
			return nil, errors.New("prune needs labels: without them, every other document would be deleted")
		}
		what := Pruned
		if len(change.Files) == 0 {
			what = Deleted
		}
		for name, was := range c.Documents {
			if planned[name] == nil && was.Labels.Have(change.Labels) {
				p.Actions = append(p.Actions, Action{Name: name, What: what, Was: was})
			}
		}
	}
	slices.SortFunc(p.Actions, func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
	p.Actions = slices.CompactFunc(p.Actions, func(a, b Action) bool { return a.Name == b.Name })
	return p, nil
}

func put(f *File, was *Document, labels Labels) Action {
	a := Action{Name: f.Name, File: f, Was: was, What: Unchanged}
	if was == nil {
		a.What = Created
	} else if !bytes.Equal(was.Text, f.Text) {
		a.What = Configured
	}
	if len(labels) > 0 && (was == nil || !maps.Equal(was.Labels, labels)) {
		a.labels = labels
		if was != nil {
			a.What = Configured
		}
	}
	return a
}

// Changes reports whether there is anything to write.
func (p *Plan) Changes() bool {
	return slices.ContainsFunc(p.Actions, func(a Action) bool { return a.What != Unchanged })
}
